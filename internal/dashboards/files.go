package dashboards

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// Files are all that this package makes, by their paths in the module, with slashes.
func Files() (map[string][]byte, error) {
	all := map[string][]byte{
		"deploy/prometheus/prometheus.yml": []byte(prometheusFile()),
		"deploy/prometheus/rules.yml":      []byte(rulesFile(func(d time.Duration) time.Duration { return d })),
	}
	for _, s := range []source{prometheus, influxDB} {
		all["deploy/grafana/provisioning/datasources/gameserverd-"+s.kind+".yaml"] = []byte(sourceFile(s))
		all["deploy/grafana/provisioning/dashboards/gameserverd-"+s.kind+".yaml"] = []byte(providerFile(s))
		for _, b := range boards() {
			text, err := encode(b.render(s))
			if err != nil {
				return nil, err
			}
			all["deploy/grafana/dashboards/"+s.kind+"/"+b.name+".json"] = text
		}
	}
	return all, nil
}

// Stale lists the files that Write would change or remove below the module's root,
// sorted.
func Stale(root string) ([]string, error) {
	files, err := Files()
	if err != nil {
		return nil, err
	}
	stale, err := left(root, files)
	if err != nil {
		return nil, err
	}
	for name, text := range files {
		old, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		if err != nil || !bytes.Equal(old, text) {
			stale = append(stale, name)
		}
	}
	slices.Sort(stale)
	return stale, nil
}

// left are boards that there were once.
func left(root string, files map[string][]byte) ([]string, error) {
	found, err := filepath.Glob(filepath.Join(root, "deploy", "grafana", "dashboards", "*", "*.json"))
	if err != nil {
		return nil, err
	}
	var gone []string
	for _, path := range found {
		name, err := filepath.Rel(root, path)
		if err != nil {
			return nil, err
		}
		if name = filepath.ToSlash(name); files[name] == nil {
			gone = append(gone, name)
		}
	}
	return gone, nil
}

// Write brings the files below the module's root up to date and returns the names of
// those that it changed or removed.
func Write(root string) ([]string, error) {
	files, err := Files()
	if err != nil {
		return nil, err
	}
	stale, err := Stale(root)
	if err != nil {
		return nil, err
	}
	for _, name := range stale {
		path := filepath.Join(root, filepath.FromSlash(name))
		if files[name] == nil {
			err = os.Remove(path)
		} else if err = os.MkdirAll(filepath.Dir(path), 0o755); err == nil {
			err = os.WriteFile(path, files[name], 0o644)
		}
		if err != nil {
			return nil, err
		}
	}
	return stale, nil
}
