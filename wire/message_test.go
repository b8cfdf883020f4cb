package wire

import "testing"

func TestParseRequest(t *testing.T) {
	b := AppendRequest(nil, 12345, "sum")
	b = AppendArray(b, 2)
	b = AppendInt(AppendInt(b, 1), 2)
	var m Message
	if err := m.Parse(b, 100); err != nil {
		t.Fatal(err)
	}
	if m.Kind != Request || m.ID != 12345 || string(m.Method) != "sum" || string(m.Params) != "\x92\x01\x02" {
		t.Errorf("parsed %+v", m)
	}
}
