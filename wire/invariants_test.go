//go:build invariants

package wire

import "testing"

func TestInvalidRawPanics(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a Raw of half a value was written")
		}
	}()
	_, _ = AppendAny(nil, Raw("\x92\x01"))
}
