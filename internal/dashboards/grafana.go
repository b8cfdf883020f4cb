package dashboards

// The JSON model of Grafana's dashboards, as far as it is used here: schema version
// 42, of Grafana 12 and 13. deploy/grafana/check holds what comes out of it against
// Grafana's own types.

type dashboard struct {
	UID           string      `json:"uid"`
	Title         string      `json:"title"`
	Description   string      `json:"description"`
	Tags          []string    `json:"tags"`
	SchemaVersion int         `json:"schemaVersion"`
	Editable      bool        `json:"editable"`
	GraphTooltip  int         `json:"graphTooltip"`
	Refresh       string      `json:"refresh"`
	Time          timeRange   `json:"time"`
	Timezone      string      `json:"timezone"`
	Links         []link      `json:"links"`
	Annotations   annotations `json:"annotations"`
	Templating    templating  `json:"templating"`
	Panels        []any       `json:"panels"` // gPanel and gRow
}

type timeRange struct {
	From string `json:"from"`
	To   string `json:"to"`
}

type link struct {
	Title       string   `json:"title"`
	Type        string   `json:"type"`
	Icon        string   `json:"icon"`
	Tooltip     string   `json:"tooltip"`
	URL         string   `json:"url,omitempty"`
	Tags        []string `json:"tags"`
	AsDropdown  bool     `json:"asDropdown"`
	TargetBlank bool     `json:"targetBlank"`
	IncludeVars bool     `json:"includeVars"`
	KeepTime    bool     `json:"keepTime"`
}

type dataSource struct {
	Type string `json:"type"`
	UID  string `json:"uid"`
}

type annotations struct {
	List []annotation `json:"list"`
}

type annotation struct {
	Name       string     `json:"name"`
	Datasource dataSource `json:"datasource"`
	Enable     bool       `json:"enable"`
	IconColor  string     `json:"iconColor"`
	// Prometheus
	Expr        string `json:"expr,omitempty"`
	TitleFormat string `json:"titleFormat,omitempty"`
	TextFormat  string `json:"textFormat,omitempty"`
	// InfluxDB
	Query      string `json:"query,omitempty"`
	TextColumn string `json:"textColumn,omitempty"`
	TagsColumn string `json:"tagsColumn,omitempty"`
}

type templating struct {
	List []variable `json:"list"`
}

type variable struct {
	Name       string      `json:"name"`
	Label      string      `json:"label"`
	Type       string      `json:"type"`
	Query      string      `json:"query"`
	Datasource *dataSource `json:"datasource,omitempty"`
	Current    option      `json:"current"`
	Hide       int         `json:"hide"`
	Multi      bool        `json:"multi,omitempty"`
	IncludeAll bool        `json:"includeAll,omitempty"`
	AllValue   string      `json:"allValue,omitempty"`
	Refresh    int         `json:"refresh,omitempty"`
	Sort       int         `json:"sort,omitempty"`
}

type option struct {
	Text  any `json:"text"` // string or []string
	Value any `json:"value"`
}

type gridPos struct {
	X int `json:"x"`
	Y int `json:"y"`
	W int `json:"w"`
	H int `json:"h"`
}

type gRow struct {
	Type      string  `json:"type"`
	ID        int     `json:"id"`
	Title     string  `json:"title"`
	Collapsed bool    `json:"collapsed"`
	GridPos   gridPos `json:"gridPos"`
	Panels    []any   `json:"panels"`
}

type gPanel struct {
	Type            string           `json:"type"`
	ID              int              `json:"id"`
	Title           string           `json:"title"`
	Description     string           `json:"description"`
	Datasource      dataSource       `json:"datasource"`
	GridPos         gridPos          `json:"gridPos"`
	Links           []link           `json:"links,omitempty"`
	FieldConfig     fieldConfig      `json:"fieldConfig"`
	Options         any              `json:"options"`
	Transformations []transformation `json:"transformations,omitempty"`
	MaxDataPoints   int              `json:"maxDataPoints,omitempty"`
	Targets         []any            `json:"targets"` // promTarget, influxTarget, mathTarget
}

type fieldConfig struct {
	Defaults  fieldDefaults `json:"defaults"`
	Overrides []override    `json:"overrides"`
}

type fieldDefaults struct {
	Unit       string       `json:"unit"`
	Min        *float64     `json:"min,omitempty"`
	Max        *float64     `json:"max,omitempty"`
	Color      fieldColor   `json:"color"`
	Thresholds thresholds   `json:"thresholds"`
	Mappings   []mapping    `json:"mappings,omitempty"`
	NoValue    string       `json:"noValue,omitempty"`
	Custom     *graphConfig `json:"custom,omitempty"`
}

type fieldColor struct {
	Mode string `json:"mode"`
}

type thresholds struct {
	Mode  string      `json:"mode"`
	Steps []threshold `json:"steps"`
}

type threshold struct {
	Value *float64 `json:"value"` // null: from the least on
	Color string   `json:"color"`
}

type mapping struct {
	Type    string                `json:"type"`
	Options map[string]mappedText `json:"options"`
}

type mappedText struct {
	Text  string `json:"text"`
	Color string `json:"color"`
	Index int    `json:"index"`
}

type graphConfig struct {
	DrawStyle       string    `json:"drawStyle"`
	LineWidth       int       `json:"lineWidth"`
	FillOpacity     int       `json:"fillOpacity"`
	ShowPoints      string    `json:"showPoints"`
	SpanNulls       bool      `json:"spanNulls"`
	Stacking        stacking  `json:"stacking"`
	ThresholdsStyle modeField `json:"thresholdsStyle"`
}

type stacking struct {
	Mode  string `json:"mode"`
	Group string `json:"group"`
}

type modeField struct {
	Mode string `json:"mode"`
}

type override struct {
	Matcher    matcher    `json:"matcher"`
	Properties []property `json:"properties"`
}

type matcher struct {
	ID      string `json:"id"`
	Options string `json:"options"`
}

type property struct {
	ID    string `json:"id"`
	Value any    `json:"value"`
}

type transformation struct {
	ID      string `json:"id"`
	Options any    `json:"options"`
}

type linesOptions struct {
	Legend  legend  `json:"legend"`
	Tooltip tooltip `json:"tooltip"`
}

type legend struct {
	ShowLegend  bool     `json:"showLegend"`
	DisplayMode string   `json:"displayMode"`
	Placement   string   `json:"placement"`
	Calcs       []string `json:"calcs"`
	SortBy      string   `json:"sortBy"`
	SortDesc    bool     `json:"sortDesc"`
}

type tooltip struct {
	Mode string `json:"mode"`
	Sort string `json:"sort"`
}

type numberOptions struct {
	ReduceOptions          reduce `json:"reduceOptions"`
	ColorMode              string `json:"colorMode"`
	GraphMode              string `json:"graphMode"`
	JustifyMode            string `json:"justifyMode"`
	Orientation            string `json:"orientation"`
	TextMode               string `json:"textMode"`
	WideLayout             bool   `json:"wideLayout"`
	ShowPercentChange      bool   `json:"showPercentChange"`
	PercentChangeColorMode string `json:"percentChangeColorMode"`
}

type reduce struct {
	Calcs  []string `json:"calcs"`
	Values bool     `json:"values"`
}

type tableOptions struct {
	ShowHeader bool     `json:"showHeader"`
	FrameIndex int      `json:"frameIndex"`
	CellHeight string   `json:"cellHeight"`
	SortBy     []sortBy `json:"sortBy"`
}

type sortBy struct {
	DisplayName string `json:"displayName"`
	Desc        bool   `json:"desc"`
}

type promTarget struct {
	RefID        string     `json:"refId"`
	Datasource   dataSource `json:"datasource"`
	Expr         string     `json:"expr"`
	LegendFormat string     `json:"legendFormat"`
	EditorMode   string     `json:"editorMode"`
	Range        bool       `json:"range"`
	Instant      bool       `json:"instant"`
	Exemplar     bool       `json:"exemplar"`
	Format       string     `json:"format"`
}

type influxTarget struct {
	RefID        string     `json:"refId"`
	Datasource   dataSource `json:"datasource"`
	Query        string     `json:"query"`
	RawQuery     bool       `json:"rawQuery"`
	ResultFormat string     `json:"resultFormat"`
	Alias        string     `json:"alias,omitempty"`
	Hide         bool       `json:"hide"`
}

// mathTarget lets Grafana calculate from other targets of the panel.
type mathTarget struct {
	RefID      string     `json:"refId"`
	Datasource dataSource `json:"datasource"`
	Type       string     `json:"type"`
	Expression string     `json:"expression"`
	Hide       bool       `json:"hide"`
}
