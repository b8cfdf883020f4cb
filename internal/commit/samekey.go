package commit

import "bytes"

// SameKey reports whether both rows are the same one of the same table. Any goroutine.
func (r Row) SameKey(o Row) bool {
	if r.Table == nil || r.Table != o.Table || min(len(r.Values), len(o.Values)) < len(r.Table.key) {
		return false // or one of them is none, as Submit will say
	}
	for i := range r.Table.key {
		a, isBytes := r.Values[i].([]byte)
		b, _ := o.Values[i].([]byte)
		if isBytes && !bytes.Equal(a, b) || !isBytes && r.Values[i] != o.Values[i] {
			return false
		}
	}
	return true
}
