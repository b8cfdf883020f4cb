package wire

// Meta is what a caller says about its call, beside the params.
type Meta struct {
	TimeoutMS   uint64 // how long the caller waits, in milliseconds
	HasTimeout  bool   // whether it said so
	Traceparent []byte // W3C trace context, not validated; lies in the bytes parsed
}

// ParseMeta reads the meta of a message, where nil stands for none. Unknown keys are ignored, and known ones whose value
// has the wrong type; of a key that occurs twice the last counts.
func ParseMeta(b Raw) Meta {
	var m Meta
	r := NewReader(b)
	n, err := r.Map()
	if err != nil {
		return m
	}
	for ; n > 0; n-- {
		key, err := r.Str()
		if err != nil {
			return m
		}
		value := r.Raw()
		switch string(key) {
		case "timeout_ms":
			if ms, size := unsigned(value); size > 0 {
				m.TimeoutMS, m.HasTimeout = ms, true
			}
		case "traceparent":
			if start, end := text(value); end > 0 {
				m.Traceparent = value[start:end:end]
			}
		}
	}
	return m
}

// AppendMeta appends m as a map of what it has.
func AppendMeta(b []byte, m Meta) []byte {
	n := 0
	if m.HasTimeout {
		n++
	}
	if len(m.Traceparent) > 0 {
		n++
	}
	b = AppendMap(b, n)
	if m.HasTimeout {
		b = AppendUint(AppendString(b, "timeout_ms"), m.TimeoutMS)
	}
	if len(m.Traceparent) > 0 {
		b = appendStr(AppendString(b, "traceparent"), m.Traceparent)
	}
	return b
}
