// What the boards in ../dashboards must be: Grafana's own types, and those of the
// queries, which @grafana/schema does not have.
import type { AnnotationQuery, Dashboard, DataSourceRef, Panel, RowPanel, VariableModel } from '@grafana/schema';
import type { Options as StatOptions } from '@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen';
import type { Options as TableOptions } from '@grafana/schema/dist/esm/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen';
import type { FieldConfig as LinesConfig, Options as LinesOptions } from '@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen';

// JSON has texts where TypeScript has enums.
type Json<T> = T extends string ? `${T}` : T extends object ? { [K in keyof T]: Json<T[K]> } : T;

interface PrometheusTarget {
	refId: string;
	datasource: DataSourceRef;
	expr: string;
	legendFormat: string;
	editorMode: 'code' | 'builder';
	range: boolean;
	instant: boolean;
	exemplar: boolean;
	format: 'time_series' | 'table' | 'heatmap';
}

interface InfluxTarget {
	refId: string;
	datasource: DataSourceRef;
	query: string;
	rawQuery: true;
	resultFormat: 'time_series' | 'table' | 'logs';
	alias?: string;
	hide: boolean;
}

interface MathTarget {
	refId: string;
	datasource: { type: '__expr__'; uid: '__expr__' };
	type: 'math';
	expression: string;
	hide: boolean;
}

type Of<Type extends string, Options, Config> = Json<Omit<Panel<Record<string, unknown>, Config>, 'type' | 'options' | 'targets' | 'fieldConfig' | 'transformations'>> & {
	type: Type;
	options: Json<Options>;
	targets: Array<PrometheusTarget | InfluxTarget | MathTarget>;
	fieldConfig: Json<Fields<Config>>;
	transformations?: Array<Joined | Organized>;
};

// Panel's own has Record<string, unknown> for what its picture adds.
type Fields<Config> = {
	defaults: Omit<NonNullable<Panel['fieldConfig']>['defaults'], 'custom'> & { custom?: Config };
	overrides: NonNullable<Panel['fieldConfig']>['overrides'];
};

interface Joined {
	id: 'joinByField';
	options: { byField: string; mode: 'outer' | 'inner' };
}

interface Organized {
	id: 'organize';
	options: { excludeByName: Record<string, boolean>; indexByName: Record<string, number>; renameByName: Record<string, string> };
}

type Annotation = Json<Omit<AnnotationQuery, 'datasource' | 'target'>> & {
	datasource: DataSourceRef;
	expr?: string;
	titleFormat?: string;
	textFormat?: string;
	query?: string;
	textColumn?: string;
	tagsColumn?: string;
};

export type Board = Json<Omit<Dashboard, 'panels' | 'annotations' | 'templating'>> & {
	uid: string;
	title: string;
	panels: Array<Of<'timeseries', LinesOptions, LinesConfig> | Of<'stat', StatOptions, Record<string, never>> | Of<'table', TableOptions, Record<string, never>> | Json<RowPanel>>;
	annotations: { list: Annotation[] };
	templating: { list: Array<Json<VariableModel>> };
};
