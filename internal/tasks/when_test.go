package tasks

import (
	"strings"
	"testing"
	"time"
)

// ticks are all ticks of w from one time to another, as somebody finds them who looks
// every step; a tick is new when nobody has seen it.
func ticks(w When, from, to time.Time, step time.Duration) (found []time.Time) {
	seen := make(map[int64]bool)
	if last, ok := w.Last(from); ok {
		seen[last.UnixMilli()] = true
	}
	for now := from; !now.After(to); now = now.Add(step) {
		if tick, ok := w.Last(now); ok && !seen[tick.UnixMilli()] {
			seen[tick.UnixMilli()] = true
			found = append(found, tick)
		}
	}
	return found
}

func TestTicksWhenTheClocksChange(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	spring := time.Date(2026, 3, 28, 12, 0, 0, 0, berlin) // 02:00 becomes 03:00 on the 29th
	autumn := time.Date(2026, 10, 24, 12, 0, 0, 0, berlin)
	for _, c := range []struct {
		text string
		from time.Time
		want string // local times with their zone
	}{
		{"30 2 * * *", spring, "29 03:00 CEST, 30 02:30 CEST"},
		{"30 2,3 * * *", spring, "29 03:00 CEST, 29 03:30 CEST, 30 02:30 CEST, 30 03:30 CEST"},
		{"0 21 * * *", spring, "28 21:00 CET, 29 21:00 CEST"},
		{"30 2 * * *", autumn, "25 02:30 CEST, 26 02:30 CET"},
		{"0 2 * * *", autumn, "25 02:00 CEST, 26 02:00 CET"},
		{"0 3 * * *", autumn, "25 03:00 CET, 26 03:00 CET"},
		{"@daily", autumn, "25 00:00 CEST, 26 00:00 CET"},
	} {
		w, err := ParseWhen(c.text, "Europe/Berlin")
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, tick := range ticks(w, c.from, c.from.Add(40*time.Hour), time.Minute) {
			got = append(got, tick.In(berlin).Format("2 15:04 MST"))
		}
		if s := strings.Join(got, ", "); s != c.want {
			t.Errorf("%s: %s, want %s", c.text, s, c.want)
		}
	}
	hourly, err := ParseWhen("0 * * * *", "Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	for _, from := range []time.Time{spring, autumn} {
		if n := len(ticks(hourly, from, from.Add(24*time.Hour), time.Minute)); n != 24 {
			t.Errorf("%d hours in 24 from %v", n, from)
		}
	}
}

func TestTicks(t *testing.T) {
	now := time.Date(2026, 11, 23, 3, 47, 31, 0, time.UTC)
	for _, c := range []struct{ text, zone, want string }{
		{"@every 90s", "UTC", "2026-11-23T03:46:30Z"},
		{"@every 1h", "UTC", "2026-11-23T03:00:00Z"},
		{"* * * * *", "UTC", "2026-11-23T03:47:00Z"},
		{"0 21 * * *", "Asia/Tokyo", "2026-11-22T12:00:00Z"},
		{"0 4 * * 1", "UTC", "2026-11-16T04:00:00Z"},
		{"0 0 1 1 *", "UTC", "2026-01-01T00:00:00Z"},
		{"0 0 29 2 *", "UTC", "2024-02-29T00:00:00Z"},
		{"0 0 30 2 *", "UTC", ""},
	} {
		w, err := ParseWhen(c.text, c.zone)
		if err != nil {
			t.Fatal(err)
		}
		last, ok := w.Last(now)
		if got := last.UTC().Format(time.RFC3339); ok != (c.want != "") || ok && got != c.want {
			t.Errorf("%s: %s %v, want %s", c.text, got, ok, c.want)
		}
	}
	for _, c := range []struct{ text, zone string }{
		{"", "UTC"}, {"0 21 * *", "UTC"}, {"0 0 21 * * *", "UTC"}, {"@every 0s", "UTC"}, {"@every soon", "UTC"}, {"99 * * * *", "UTC"},
		{"0 21 * * *", "Europe/Nowhere"}, {"0 21 * * *", "Local"}, {"CRON_TZ=UTC 0 21 * * *", "UTC"},
	} {
		if _, err := ParseWhen(c.text, c.zone); err == nil {
			t.Errorf("%q in %q is taken", c.text, c.zone)
		}
	}
}
