package game

import (
	"reflect"
	"testing"
	"time"
)

func TestNewPlayer(t *testing.T) {
	now := time.UnixMilli(1234)
	want := Player{UID: 7, Name: "player7", Level: 1, Gold: 100, Created: now}
	if got := NewPlayer(7, 100, now); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestCloneSharesNothing(t *testing.T) {
	p := Player{UID: 7, Items: map[string]int64{"sword": 1}}
	q := p.Clone()
	q.Items["sword"] = 2
	q.UID = 8
	if p.Items["sword"] != 1 || p.UID != 7 {
		t.Errorf("a change of the copy changed %+v", p)
	}
}
