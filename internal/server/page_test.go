package server

import (
	"errors"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"gameserverd/internal/future"
	"gameserverd/internal/players"
	"gameserverd/internal/server/testdata/season"
	"gameserverd/internal/tasks"
	"gameserverd/wire"
)

// pageHandlers are as docs/tasks.md supposes that a handler is.
type pageHandlers struct {
	tasks   *tasks.Tasks
	players *players.Players
}

// later has the lines of the page.
func (h *pageHandlers) later(uid uint64) (*tasks.Receipt[int64], error) {
	receipt, err := tasks.Apply(h.tasks, season.PrizeTask(uid, 1), tasks.In(time.Hour), tasks.Keep(24*time.Hour))
	return receipt, err
}

// together has the lines of the page.
func (h *pageHandlers) together(uid uint64) *future.Future[int64] {
	f := players.Change(h.players, uid, func(d *players.Draft) (int64, error) {
		p, err := d.Player().Pay(30)
		if err != nil {
			return 0, err
		}
		d.SetPlayer(p)
		_, err = tasks.Write(h.tasks, d, season.PrizeTask(uid, 2))
		return p.Gold, err
	})
	return f
}

// The code of the page's example is what is compiled and run here: the task is
// testdata/season, with what `make generate` makes of it in internal/tasks/season; what
// applies it is above.
func TestPageOfTasksIsWhatRuns(t *testing.T) {
	read := func(name string) string {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	words := func(s string) string { return strings.Join(strings.Fields(s), " ") }
	blocks := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(read("../../docs/tasks.md"), -1)
	if len(blocks) != 3 {
		t.Fatalf("the page has %d blocks of Go, this test knows 3", len(blocks))
	}
	if blocks[0][1] != read("testdata/season/season.go") {
		t.Errorf("the page's task is not testdata/season/season.go, which is tried here:\n%s", blocks[0][1])
	}
	for _, block := range blocks[1:] {
		if !strings.Contains(words(read("page_test.go")), words(block[1])) {
			t.Errorf("these lines of the page are not in page_test.go, where they are tried:\n%s", block[1])
		}
	}
	defs := season.Definitions()
	if len(defs) != 1 || defs[0].Name != "season.prize" || !strings.Contains(blocks[0][1], "//task:queue "+defs[0].Queue+"\n") {
		t.Fatalf("generated for another page: %+v", defs)
	}

	s := startWith(t, testConfig(t.TempDir()), Options{Tasks: defs})
	eventually(t, "serving", func() bool { ok, _ := s.Ready(); return ok })
	c := s.login(7)
	h := &pageHandlers{s.tasks, s.stores.players}

	receipt, err := h.later(7)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := receipt.Stored().Wait(testContext(t)); err != nil {
		t.Fatal(err)
	}
	info, err := s.tasks.Show(testContext(t), receipt.ID)
	if in := time.Until(time.UnixMilli(info.RunMS)); err != nil || info.State != "waiting" || info.Queue != "low" || in < 55*time.Minute || in > time.Hour {
		t.Errorf("%+v, in %v: %v", info, in, err)
	}

	receipt, err = tasks.Apply(s.tasks, season.PrizeTask(7, 1), tasks.Keep(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if gold, err := receipt.Result().Wait(testContext(t)); err != nil || gold != 1000 {
		t.Errorf("the prize is %d: %v", gold, err)
	}
	if gold, err := h.together(7).Wait(testContext(t)); err != nil || gold != 70 {
		t.Errorf("the player has %d: %v", gold, err)
	}
	var mails []struct {
		Gold int64 `msgpack:"gold"`
	}
	eventually(t, "two prizes", func() bool {
		err := c.Call(testContext(t), "mail.list", &mails)
		return err != nil || len(mails) == 2
	})
	if len(mails) != 2 || mails[0].Gold+mails[1].Gold != 1500 {
		t.Errorf("mails %+v", mails)
	}

	// What does not fit is refused when applying.
	_, err = s.tasks.RunNow(testContext(t), "season.prize", []byte{0x92, 0x07, 0xa1, 'x'})
	var e *wire.Error
	if !errors.As(err, &e) || e.Code != wire.InvalidArgument {
		t.Errorf("a rank that is a text: %v", err)
	}
}
