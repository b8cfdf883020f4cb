package rpcgen_test

import (
	"strings"
	"testing"

	"gameserverd/internal/rpcgen"
)

// tasksPackage is what the generator knows of internal/tasks.
const tasksPackage = `package tasks

type Call struct{}
type Definition struct{}
`

const mailTasks = `// Package mail sends mail.
package mail

import (
	"time"

	"example.com/game/internal/tasks"
)

// Letter is what is sent.
type Letter struct {
	Title string
	sent  time.Time
}

// Send sends a letter
// to a player.
//
// It may take long.
//
//task:queue low
//task:retries 3
//task:timeout 5m
func Send(c *tasks.Call, uid uint64, l Letter) (int, error) { return 0, nil }

// Sweep forgets old mail.
//
//task:ephemeral
//task:name mail.forget
func Sweep(c *tasks.Call) error { _ = SweepTask(); return nil }

// Helper is ordinary Go.
func Helper() {}
`

func withTasks(t *testing.T) *module {
	m := newModule(t)
	m.write("internal/tasks/tasks.go", tasksPackage)
	name, _, _ := strings.Cut(strings.TrimPrefix(m.read("go.mod"), "module "), "\n")
	m.write("internal/tasks/mail/mail.go", strings.ReplaceAll(mailTasks, "example.com/game", name))
	return m
}

func TestTasksAreCollected(t *testing.T) {
	m := withTasks(t)
	out, err := rpcgen.Generate(rpcgen.Config{Dir: m.dir})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := out.Write(); err != nil {
		t.Fatal(err)
	}
	got := m.read("internal/tasks/mail/tasks_gen.go")
	for _, want := range []string{
		`"mail.send"`, `"Send sends a letter to a player."`, `Params:  []string{"uid uint64", "l mail.Letter"}`, `"low"`, `Retries: 3`, `Timeout: 300000000000, // 5m0s`,
		`Where:   "internal/tasks/mail/mail.go:24"`,
		`func SendTask(uid uint64, l Letter) tasks.Task[int] {`, `tasks.Make[int](defSend, uid, l)`,
		`"mail.forget"`, `func SweepTask() tasks.Ephemeral[struct{}] {`, `Ephemeral: true`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %s in\n%s", want, got)
		}
	}
	if got := m.read("internal/tasks/catalog/catalog_gen.go"); !strings.Contains(got, "mail.Definitions()...") {
		t.Errorf("the catalog is\n%s", got)
	}
	if stale := m.stale(); len(stale) > 0 {
		t.Errorf("stale at once: %q", stale)
	}
}

func TestTasksThatCannotBeAreRefusedWithTheirPlace(t *testing.T) {
	for _, c := range []struct{ old, new, want string }{
		{"uid uint64, l", "uid uint64, done chan int, l", "internal/tasks/mail/mail.go:24:38: parameter done of Send cannot be kept: chan int has no form in MessagePack: take a value"},
		{"l Letter", "l time.Time", "internal/tasks/mail/mail.go:24:38: parameter l of Send cannot be kept: time.Time has no exported field; a time is kept as an integer"},
		{"l Letter", "l ...Letter", "internal/tasks/mail/mail.go:24:38: Send is variadic: take a slice"},
		{"l Letter", "_ Letter", "internal/tasks/mail/mail.go:24:38: parameter 2 of Send needs a name"},
		{"(int, error)", "int", "internal/tasks/mail/mail.go:24:6: Send returns int: a task returns error, or (R, error)"},
		{"c *tasks.Call, uid", "c tasks.Call, uid", "internal/tasks/mail/mail.go:24:6: Send takes a tasks.Call: a task takes a pointer, *tasks.Call"},
		{"//task:retries 3", "//task:retries many", "internal/tasks/mail/mail.go:22:1: //task:retries takes a number from 0 to 1000000"},
		{"//task:retries 3", "//task:retrie 3", "internal/tasks/mail/mail.go:22:1: there is no directive //task:retrie: did you mean //task:retries?"},
		{"//task:retries 3", "// task:retries 3", "internal/tasks/mail/mail.go:22:1: a directive has no space after the slashes: write //task:retries"},
		{"//task:timeout 5m", "//task:timeout 5", "internal/tasks/mail/mail.go:23:1: //task:timeout takes a duration"},
		{"mail.forget", "mail.send", "there is another task mail.send at internal/tasks/mail/mail.go:24:6"},
		{"Sweep(c *tasks.Call) error { _ = SweepTask(); return nil }", "Sweep(c *tasks.Call) (int, error) { return 0, nil }", "internal/tasks/mail/mail.go:30:6: Sweep is ephemeral, and nobody is told the result"},
		{"func Helper", "func SendTask", "the name SendTask is needed for the generated code of the task Send"},
	} {
		m := withTasks(t)
		m.replace("internal/tasks/mail/mail.go", c.old, c.new)
		if got := m.refused(); !strings.Contains(got, c.want) {
			t.Errorf("%s becomes %s: %s\nwant %s", c.old, c.new, got, c.want)
		}
	}
}
