package imports

import (
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// allowed is the import table of docs/architecture.md: what of this module each
// package may import. A folder's row also holds for the folders below it that
// have none of their own.
var allowed = map[string][]string{
	"wire":               {},
	"client":             {"wire"},
	"client/api":         {"client", "wire"},
	"internal/future":    {},
	"internal/nearest":   {},
	"internal/linefile":  {},
	"internal/msgjson":   {"wire"},
	"internal/histogram": {},
	"internal/loop":      {"internal/future", "internal/histogram"},
	"internal/census":    {},
	"internal/conn":      {"internal/census", "internal/future", "internal/loop"},
	"internal/gate":      {},
	"internal/rpc":       {"internal/census", "internal/future", "internal/histogram", "wire"},
	"internal/rpctest":   {"internal/future", "internal/rpc", "wire"},
	"internal/game":      {"wire"},
	"internal/auth":      {"internal/rpc"},
	"internal/store":     {"internal/future", "internal/histogram", "wire"},
	"internal/commit":    {"internal/future", "internal/histogram", "internal/store", "wire"},
	"internal/players":   {"internal/commit", "internal/future", "internal/game", "internal/store", "wire"},
	"internal/boards":    {"internal/future", "internal/store", "wire"},
	"internal/handlers":  {"internal/boards", "internal/commit", "internal/future", "internal/game", "internal/handlers/", "internal/players", "internal/rpc", "internal/store", "internal/tasks", "internal/tasks/", "wire"},
	"internal/config":    {"internal/nearest"},
	"internal/metrics":   {"internal/histogram"},
	"internal/admin":     {},
	"internal/tracing":   {"internal/rpc", "wire"},
	"internal/ctl":       {"internal/msgjson", "wire"},
	"internal/console":   {"internal/ctl", "internal/histogram", "internal/linefile", "internal/metrics", "internal/msgjson", "internal/rpc", "wire"},
	"internal/doctor":    {"internal/auth", "internal/config", "internal/ctl", "internal/store", "internal/store/schema", "internal/transport"},
	"internal/systemd":   {},
	"internal/ws":        {},
	"internal/transport": {"internal/conn", "internal/loop", "internal/ws", "wire"},
	"internal/server": {"client", "internal/admin", "internal/auth", "internal/boards", "internal/commit", "internal/config", "internal/conn", "internal/console", "internal/ctl", "internal/future", "internal/game", "internal/gate",
		"internal/handlers", "internal/handlers/", "internal/loop", "internal/metrics", "internal/msgjson", "internal/players", "internal/rpc", "internal/store", "internal/store/", "internal/systemd", "internal/tasks", "internal/tasks/", "internal/tracing", "internal/transport", "wire"},
	"internal/attack":     {"client", "wire"},
	"internal/bench":      {"internal/conn", "internal/future", "internal/loop", "wire"},
	"internal/cli":        {"client", "internal/config", "internal/ctl", "internal/linefile", "internal/msgjson", "internal/nearest", "internal/rpc", "internal/server", "internal/store", "internal/store/schema", "wire"},
	"internal/rpcgen":     {"internal/nearest", "internal/rpc"},
	"internal/imports":    {},
	"internal/dashboards": {"internal/metrics"},

	"internal/tasks":         {"internal/commit", "internal/future", "internal/game", "internal/histogram", "internal/players", "internal/store", "wire"},
	"internal/tasks/reward":  {"internal/future", "internal/game", "internal/tasks"},
	"internal/tasks/catalog": {"internal/tasks", "internal/tasks/"},

	"internal/store/embedded": {},
	"internal/store/schema":   {"internal/store"},
	"internal/storetest":      {},
	"internal/disktest":       {},
	"internal/spantest":       {},
	"internal/tlstest":        {},
	"cmd/gameserverd":         {"internal/"},
	"cmd/rpcgen":              {"internal/rpcgen"},
	"cmd/dashgen":             {"internal/dashboards"},
	"bench":                   {"client", "client/api", "wire"},
	"bench/tasks":             {"internal/commit", "internal/future", "internal/store", "internal/store/", "internal/tasks"},
}

// forbidden are imports from outside that a package must not have: what they
// bring in would cross a layer.
var forbidden = map[string][]string{
	"internal/loop": {"net", "go.uber.org/zap", "github.com/"},
	"internal/rpc":  {"net", "os", "database/sql", "github.com/"},
	"internal/game": {"net", "os", "database/sql", "github.com/"},
	"wire":          {"net", "os"},
}

// stays are imports that only the folders named here, and those below them, may
// have. Whoever else needs a database has a store.SQL or a store.Redis, which
// answer in time whatever happens. bench measures what drivers do without us.
var stays = map[string][]string{
	"database/sql":                   {"bench", "internal/store", "internal/storetest"},
	"github.com/go-sql-driver/mysql": {"bench", "internal/store", "internal/storetest"},
	"modernc.org/sqlite":             {"bench", "internal/store", "internal/storetest"},
	"github.com/redis/go-redis":      {"bench", "internal/store", "internal/storetest", "internal/tasks"},
	"github.com/hibiken/asynq":       {"bench", "internal/tasks"},
	"github.com/alicebob/miniredis":  {"internal/store"},
	"github.com/pressly/goose":       {"internal/store/schema"},
	"gameserverd/internal/storetest": {}, // tests only, which are not looked at
	"gameserverd/internal/rpctest":   {},
	"gameserverd/internal/tlstest":   {},
	"gameserverd/internal/spantest":  {},
	"gameserverd/internal/disktest":  {},
	"go.opentelemetry.io":            {"internal/spantest", "internal/tracing"},
	"github.com/gobwas/ws":           {"internal/ws"},
	"github.com/spf13/cobra":         {"cmd/gameserverd"},
	"github.com/spf13/viper":         {"internal/config"},
	"github.com/coreos/go-systemd":   {"internal/systemd"},
	"github.com/prometheus":          {"internal/metrics"},
}

const module = "gameserverd/"

func TestImportsRunDownward(t *testing.T) {
	root := filepath.Join("..", "..")
	seen := 0
	err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "testdata" || d.Name() == "bin" || strings.HasPrefix(d.Name(), ".") && d.Name() != "..") {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		folder, err := filepath.Rel(root, filepath.Dir(path))
		if err != nil {
			return err
		}
		seen++
		for _, spec := range file.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			check(t, path, folder, imported)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if seen < 50 {
		t.Errorf("only %d files were looked at", seen)
	}
}

func check(t *testing.T, path, folder, imported string) {
	for _, bad := range forbidden[folder] {
		if imported == bad || strings.HasSuffix(bad, "/") && strings.HasPrefix(imported, bad) {
			t.Errorf("%s imports %s: internal layers stay free of it", path, imported)
		}
	}
	for what, folders := range stays {
		inFolder := func(f string) bool { return within(folder, f) }
		if within(imported, what) && !slices.ContainsFunc(folders, inFolder) {
			t.Errorf("%s imports %s, which stays in %v", path, imported, folders)
		}
	}
	inside, ours := strings.CutPrefix(imported, module)
	if !ours || inside == folder {
		return
	}
	row := folder
	for {
		if rules, ok := allowed[row]; ok {
			fits := func(rule string) bool {
				return inside == rule || strings.HasSuffix(rule, "/") && strings.HasPrefix(inside, rule)
			}
			if !slices.ContainsFunc(rules, fits) {
				t.Errorf("%s imports %s: %s may import %v", path, inside, row, rules)
			}
			return
		}
		if row = filepath.Dir(row); row == "." {
			t.Errorf("%s: the import table has no row for %s; add one where the arrows allow it", path, folder)
			return
		}
	}
}

// within says whether path is folder or below it.
func within(path, folder string) bool {
	return path == folder || strings.HasPrefix(path, folder+"/")
}
