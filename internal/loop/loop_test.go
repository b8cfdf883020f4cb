package loop_test

import (
	"testing"
	"time"

	"gameserverd/internal/future"
	"gameserverd/internal/loop"
)

func TestRunSyncReturnsResultThatIsThereAlready(t *testing.T) {
	l, err := loop.New(loop.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close(false)
	v, err := loop.RunSync(l, func() *future.Future[int] {
		f := future.New[int]()
		l.CallLater(10*time.Millisecond, func() { f.Resolve(7) })
		return f
	}, time.Second)
	if v != 7 || err != nil {
		t.Fatal(v, err)
	}
}
