// Mistakes that must be found: tsc fails where one of these is none.
import type { Board } from './board';

type Lines = Extract<Board['panels'][number], { type: 'timeseries' }>;

// @ts-expect-error a width is a number
export const width: Lines['gridPos'] = { x: 0, y: 0, w: '8', h: 8 };
// @ts-expect-error there is no such way to draw
export const style: Lines['fieldConfig']['defaults']['custom'] = { drawStyle: 'lines' };
// @ts-expect-error a legend has no such form
export const legend: Lines['options']['legend'] = { calcs: [], displayMode: 'tabel', placement: 'bottom', showLegend: true };
// @ts-expect-error it is spelled colorMode
export const number: Partial<Extract<Board['panels'][number], { type: 'stat' }>['options']> = { colourMode: 'value' };
// @ts-expect-error Prometheus' queries are in expr
export const target: Lines['targets'][number] = { refId: 'A', exp: 'up' };
// @ts-expect-error a variable is refreshed never, on load, or with the time
export const refresh: Board['templating']['list'][number]['refresh'] = 9;
// @ts-expect-error a version is a number
export const version: Board['schemaVersion'] = '42';
