package embedpg

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// ErrNotInstalled means that no PostgreSQL binaries were found.
var ErrNotInstalled = errors.New("no PostgreSQL binaries found")

// Where distributions keep them: Debian and its kin, and the PGDG packages of
// Red Hat and its kin.
var installedAt = []string{"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin"}

type binaries struct {
	dir   string
	major int
}

// findBinaries picks the binaries to run the data directory with: those of its
// own major version, or the newest when there is no data yet.
func findBinaries(ctx context.Context, binDir, data string) (string, error) {
	dirs, places := []string{binDir}, binDir
	if binDir == "" {
		dirs, places = installed(installedAt), strings.Join(installedAt, ", ")+" and PATH"
	}
	found, broken := probe(ctx, dirs)
	if len(found) == 0 {
		if broken != nil {
			return "", fmt.Errorf("find PostgreSQL: %w", broken)
		}
		return "", fmt.Errorf("%w in %s: install them (apt-get install postgresql), or set DATABASE_URL to use a server of your own", ErrNotInstalled, places)
	}
	want, err := dataVersion(data)
	if err != nil {
		return "", err
	}
	if want == "" {
		return found[0].dir, nil
	}
	var have []string
	for _, b := range found {
		if strconv.Itoa(b.major) == want {
			return b.dir, nil
		}
		have = append(have, fmt.Sprintf("%d (%s)", b.major, b.dir))
	}
	return "", fmt.Errorf("%s was made by PostgreSQL %s, but the binaries found are of version %s; install that version beside them (apt-get install postgresql-%[2]s), or upgrade the data with pg_upgrade; nothing was changed",
		data, want, strings.Join(have, ", "))
}

// dataVersion is the major version of a data directory, empty when there is none.
func dataVersion(data string) (string, error) {
	b, err := os.ReadFile(filepath.Join(data, "PG_VERSION"))
	if errors.Is(err, os.ErrNotExist) {
		if _, err := os.Lstat(data); err == nil {
			return "", fmt.Errorf("%s is not a PostgreSQL data directory: it has no PG_VERSION; move it away, or restore it from a backup; nothing was changed", data)
		}
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read the version of the PostgreSQL data directory: %w", err)
	}
	version := strings.TrimSpace(string(b))
	if !regexp.MustCompile(`^[0-9]+(\.[0-9]+)?$`).MatchString(version) {
		return "", fmt.Errorf("%s is damaged: its PG_VERSION holds no version; restore it from a backup; nothing was changed", data)
	}
	return version, nil
}

// installed lists the folders that may hold binaries.
func installed(patterns []string) []string {
	var dirs []string
	for _, pattern := range patterns {
		matches, _ := filepath.Glob(pattern) // fails for a malformed pattern only
		dirs = append(dirs, matches...)
	}
	if path, err := exec.LookPath("postgres"); err == nil {
		if path, err = filepath.EvalSymlinks(path); err == nil && !slices.Contains(dirs, filepath.Dir(path)) {
			dirs = append(dirs, filepath.Dir(path))
		}
	}
	return dirs
}

var versionLine = regexp.MustCompile(`\(PostgreSQL\) (\d+)`)

// probe asks each folder's postgres for its version, and sorts the newest
// first. A folder without one is left out; the error is of those that have one
// which does not work.
func probe(ctx context.Context, dirs []string) (found []binaries, broken error) {
	for _, dir := range dirs {
		c := exec.CommandContext(ctx, filepath.Join(dir, "postgres"), "--version")
		c.Env = environment(dir)
		out, err := c.Output()
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			broken = errors.Join(broken, fmt.Errorf("%s --version: %w", c.Path, err))
			continue
		}
		m := versionLine.FindSubmatch(out)
		if m == nil {
			broken = errors.Join(broken, fmt.Errorf("%s --version answers %q", c.Path, out))
			continue
		}
		major, _ := strconv.Atoi(string(m[1]))
		found = append(found, binaries{dir, major})
	}
	slices.SortStableFunc(found, func(a, b binaries) int { return cmp.Compare(b.major, a.major) })
	return found, broken
}
