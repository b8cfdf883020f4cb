package auth

import (
	"math"
	"strings"
	"testing"
)

func TestDev(t *testing.T) {
	for token, want := range map[string]uint64{"dev:1": 1, "dev:7": 7, "dev:18446744073709551615": math.MaxUint64} {
		if uid, err := (Dev{}).Verify(token); err != nil || uid != want {
			t.Errorf("%q is uid %d (%v), want %d", token, uid, err, want)
		}
	}
	for _, token := range []string{
		"", "dev", "dev:", "dev:0", "dev:00", "dev:-7", "dev:+7", "dev:7 ", "dev: 7", "dev:7x", "dev:0x7", "dev:1_000",
		"dev:18446744073709551616", "DEV:7", "7", "dev:dev:7", "dev:" + strings.Repeat("9", 100_000),
	} {
		if uid, err := (Dev{}).Verify(token); err == nil || uid != 0 {
			t.Errorf("%.40q is taken for uid %d", token, uid)
		} else if len(err.Error()) > 200 {
			t.Errorf("the error has %d bytes", len(err.Error()))
		}
	}
}
