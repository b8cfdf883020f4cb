package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"go.yaml.in/yaml/v3"

	"gameserverd/internal/config"
	"gameserverd/internal/ctl"
	"gameserverd/internal/msgjson"
	"gameserverd/wire"
)

// Ctl is one use of `gameserverd ctl`. Its methods return an *ExitError. It belongs
// to the goroutine that calls them.
type Ctl struct {
	Program  string // how the user called us: hints repeat it
	Socket   string // of the daemon
	JSON     bool   // results are JSON, one object or one a line; so are errors
	Terminal bool   // somebody watches Err
	Out, Err io.Writer
}

// ctlTimeout bounds commands that are not watched.
const ctlTimeout = 20 * time.Second

// InstalledConfig is where the package puts the configuration.
const InstalledConfig = "/etc/gameserverd/gameserverd.yaml"

// CtlSocket is where a daemon with the configuration of file ("": none) has its
// socket, or with a name the worker that is called so. A daemon goes on when its file is broken, and an operator may want to
// ask it then: so of a file with problems data_dir counts all the same, and note
// says so. Any goroutine.
func CtlSocket(file, worker string) (path, note string, err error) {
	dir, note, err := dataDir(file)
	switch {
	case err != nil:
		return "", "", err
	case worker != "":
		dir = ctl.WorkerDir(dir, worker)
	}
	return ctl.SocketPath(dir), note, nil
}

// dataDir is that of the configuration of file.
func dataDir(file string) (dir, note string, err error) {
	cfg, err := config.Load(file)
	if err == nil {
		return cfg.DataDir, "", nil
	}
	var problems config.Problems
	if !errors.As(err, &problems) {
		return "", "", err
	}
	dir = os.Getenv("GAMESERVERD_DATA_DIR")
	if dir == "" && file != "" {
		var only struct {
			DataDir string `yaml:"data_dir"`
		}
		raw, err := os.ReadFile(file)
		if err != nil {
			return "", "", err
		}
		_ = yaml.Unmarshal(raw, &only) // what cannot be read leaves the default
		dir = only.DataDir
	}
	if dir == "" {
		dir = config.Default().DataDir
	}
	return dir, fmt.Sprintf("the configuration has %d problem(s), which `check` lists; data_dir is taken from it all the same", len(problems)), nil
}

// Status prints how the daemon is.
func (c *Ctl) Status(ctx context.Context) error {
	var st ctl.Status
	if err := c.call(ctx, "GET", "/status", nil, &st); err != nil {
		return err
	}
	if c.JSON {
		return c.print(st)
	}
	return Failed(writeStatus(c.Out, &st, time.Now()))
}

// Sessions prints the first sessions by the given order.
func (c *Ctl) Sessions(ctx context.Context, sort string, limit int, rate bool) error {
	q := url.Values{"sort": {sort}, "limit": {strconv.Itoa(limit)}, "rate": {strconv.FormatBool(rate)}}
	var list ctl.Sessions
	if err := c.call(ctx, "GET", "/sessions?"+q.Encode(), nil, &list); err != nil {
		return err
	}
	if c.JSON {
		return c.print(list)
	}
	if err := writeSessions(c.Out, list.Sessions, rate || sort == "rate"); err != nil {
		return Failed(err)
	}
	if more := list.Total - len(list.Sessions); more > 0 {
		fmt.Fprintf(c.Err, "%d more; --limit %d shows all\n", more, list.Total)
	}
	return nil
}

// Kick ends a player's session.
func (c *Ctl) Kick(ctx context.Context, k ctl.Kick) error {
	var done ctl.Kicked
	if err := c.call(ctx, "POST", "/kick", k, &done); err != nil {
		return err
	}
	if c.JSON {
		if err := c.print(done); err != nil || done.Kicked {
			return err
		}
		return &ExitError{Code: ExitFailed}
	}
	if !done.Kicked {
		return Failed(fmt.Errorf("player %d is not online on this daemon", k.UID))
	}
	_, err := fmt.Fprintf(c.Out, "player %d was told to go\n", k.UID)
	return Failed(err)
}

// NoticeMethod is the notification with which an operator says something to all
// players: sys.notice(text).
const NoticeMethod = "sys.notice"

// Broadcast sends a notification to everybody who is logged in. args are read as
// those of Call.
func (c *Ctl) Broadcast(ctx context.Context, method string, args []string) error {
	b := ctl.Broadcast{Method: method, Params: []json.RawMessage{}}
	params, err := parseArgs(args)
	if err != nil {
		return Usage("%w", err)
	}
	for _, v := range params {
		raw, err := wire.AppendAny(nil, v)
		if err != nil {
			return Usage("%w", err)
		}
		b.Params = append(b.Params, msgjson.Append(nil, raw))
	}
	var told ctl.Told
	if err := c.call(ctx, "POST", "/broadcast", b, &told); err != nil {
		return err
	}
	if c.JSON {
		return c.print(told)
	}
	_, err = fmt.Fprintf(c.Out, "sent to %d players\n", told.Sessions)
	return Failed(err)
}

// Level prints the level of the log, after setting it unless level is "".
func (c *Ctl) Level(ctx context.Context, level string) error {
	var l ctl.Level
	method, in := "GET", any(nil)
	if level != "" {
		method, in = "POST", ctl.Level{Level: level}
	}
	if err := c.call(ctx, method, "/loglevel", in, &l); err != nil {
		return err
	}
	if c.JSON {
		return c.print(l)
	}
	_, err := fmt.Fprintln(c.Out, l.Level)
	return Failed(err)
}

// Reload has the daemon read its configuration anew.
func (c *Ctl) Reload(ctx context.Context) error {
	var done ctl.Reloaded
	if err := c.call(ctx, "POST", "/reload", nil, &done); err != nil {
		return err
	}
	if c.JSON {
		return c.print(done)
	}
	for _, ch := range done.Changed {
		fmt.Fprintf(c.Out, "%s: %s -> %s\n", ch.Key, orQuotes(ch.Old), orQuotes(ch.New))
	}
	for _, key := range done.Restart {
		fmt.Fprintf(c.Out, "%s: needs a restart, stays as it was\n", key)
	}
	_, err := fmt.Fprintf(c.Out, "reloaded, %d settings changed\n", len(done.Changed))
	return Failed(err)
}

// orQuotes makes an empty value visible.
func orQuotes(s string) string {
	if s == "" {
		return `""`
	}
	return s
}

// call is one request and its answer; an error is explained.
func (c *Ctl) call(ctx context.Context, method, path string, in, out any) error {
	return c.callHinted(ctx, method, path, in, out, nil)
}

// callHinted is call; hints says what to do about an error that the daemon has answered,
// by its code.
func (c *Ctl) callHinted(ctx context.Context, method, path string, in, out any, hints map[wire.Code]string) error {
	limited, cancel := context.WithTimeout(ctx, ctlTimeout)
	defer cancel()
	return c.failedHinted(ctx, ctl.NewClient(c.Socket).Call(limited, method, path, in, out), hints)
}

func (c *Ctl) print(v any) error {
	enc := json.NewEncoder(c.Out)
	enc.SetEscapeHTML(false)
	return Failed(enc.Encode(v))
}

// failed explains err. nil stays nil.
func (c *Ctl) failed(ctx context.Context, err error) error { return c.failedHinted(ctx, err, nil) }

func (c *Ctl) failedHinted(ctx context.Context, err error, hints map[wire.Code]string) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return &ExitError{Code: ExitInterrupted}
	}
	e := c.explain(err)
	if e.Hint == "" {
		e.Hint = hints[wire.Code(e.Code)]
	}
	if !c.JSON {
		if e.Hint != "" {
			e.Message += "\nhint: " + e.Hint
		}
		return Failed(errors.New(e.Message))
	}
	line, err := json.Marshal(e)
	if err != nil {
		return Failed(err)
	}
	fmt.Fprintf(c.Err, "%s\n", line)
	return &ExitError{Code: ExitFailed}
}

func (c *Ctl) explain(err error) explained {
	e := explained{Code: string(wire.Unavailable), Message: err.Error()}
	var answered *ctl.Error
	var connecting *ctl.ConnectError
	switch {
	case errors.As(err, &answered):
		e.Code = answered.Code
		return e
	case !errors.As(err, &connecting):
		e.Hint = "the daemon has ended, or is too busy to answer; its log says more"
		return e
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		e.Message = fmt.Sprintf("no daemon has its socket at %s", c.Socket)
		if names := ctl.Workers(filepath.Dir(c.Socket)); len(names) > 0 {
			e.Hint = fmt.Sprintf("there are workers, and --worker %s is one of them: %s", names[0], strings.Join(names, ", "))
			return e
		}
		e.Hint = fmt.Sprintf("is it running? --config FILE finds it by data_dir, --socket PATH names it: %s ctl --config FILE status", c.Program)
		if _, err := os.Stat(InstalledConfig); err == nil {
			e.Hint += fmt.Sprintf("; for the installed one: sudo %s ctl --config %s status", c.Program, InstalledConfig)
		}
	case errors.Is(err, syscall.ECONNREFUSED):
		e.Message = fmt.Sprintf("nobody answers at %s: the daemon that made it has crashed or was killed", c.Socket)
		e.Hint = "start it again; it takes the socket's place"
	case errors.Is(err, syscall.EACCES):
		e.Message = fmt.Sprintf("this user may not open %s", c.Socket)
		e.Hint = fmt.Sprintf("only the daemon's own user and root may: sudo %s ctl --socket %s status", c.Program, c.Socket)
	}
	return e
}
