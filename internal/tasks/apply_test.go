package tasks

import (
	"testing"
	"time"

	"gameserverd/wire"
)

// A result that can never be there any more is an error, and nobody asks for it for ever.
func TestResultThatNeverComesIsAnError(t *testing.T) {
	eachPlace(t, func(t *testing.T, p *place) {
		pr := p.begin(2, nil)
		must(pr, of(pr, "test.double", "a"), Unique("k", time.Hour))
		refused, err := Apply(pr.Tasks, of(pr, "test.double", "a"), Unique("k", time.Hour), Keep(time.Minute))
		if err != nil {
			t.Fatal(err)
		}
		if _, err = refused.Result().Wait(limited(t)); wire.CodeOf(err) != wire.AlreadyExists {
			t.Errorf("of a task that was refused: %v", err)
		}
		over := must(pr, of(pr, "test.double", "b"), Keep(time.Millisecond))
		eventually(t, "it has ended and is forgotten", 30*time.Second, func() bool {
			_, err := pr.Show(limited(t), over.ID)
			return p.times("b") == 1 && wire.CodeOf(err) == wire.NotFound
		})
		if _, err = over.Result().Wait(limited(t)); wire.CodeOf(err) != wire.NotFound {
			t.Errorf("of a task that is forgotten: %v", err)
		}
		if v := wait(t, must(pr, of(pr, "test.double", "c"), Keep(time.Minute)).Result()); v != "cc" {
			t.Errorf("of a task that has run: %q", v)
		}
	})
}
