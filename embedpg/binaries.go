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
	found, broken := probe(ctx, dirs, "postgres")
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
	return "", fmt.Errorf("%s was made by PostgreSQL %s, but the binaries found are of version %s: install that version beside them (apt-get install postgresql-%[2]s), and it is used. To move the data to another one, install that version all the same, make a backup (platen backup), move the folder %[4]s away, and restore the backup (platen restore), which uses the newest version that is installed; nothing was changed",
		data, want, strings.Join(have, ", "), filepath.Dir(data))
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

// Tools are the pg_dump and pg_restore of one version.
type Tools struct {
	Dir   string
	Major int
}

// FindTools picks, of the tools that are installed, those of the lowest major version
// that is not below atLeast: pg_dump refuses a server that is newer than itself, and
// pg_restore what a newer pg_dump wrote (https://www.postgresql.org/docs/15/app-pgdump.html).
func FindTools(ctx context.Context, atLeast int) (Tools, error) {
	dirs := installed(installedAt)
	// Not resolved: what Debian has in /usr/bin is a link to a script that goes by its name.
	if path, err := exec.LookPath("pg_dump"); err == nil && !slices.Contains(dirs, filepath.Dir(path)) {
		dirs = append(dirs, filepath.Dir(path))
	}
	return chooseTools(ctx, dirs, atLeast)
}

func chooseTools(ctx context.Context, dirs []string, atLeast int) (chosen Tools, err error) {
	found, broken := probe(ctx, dirs, "pg_dump")
	var have []string
	for _, b := range found { // the newest first
		if _, err := os.Stat(filepath.Join(b.dir, "pg_restore")); err != nil {
			continue
		}
		have = append(have, fmt.Sprintf("%d (%s)", b.major, b.dir))
		if b.major >= atLeast {
			chosen = Tools{b.dir, b.major}
		}
	}
	if chosen.Dir != "" {
		return chosen, nil
	}
	are := "none are installed"
	if len(have) > 0 {
		are = "those installed are of version " + strings.Join(have, ", ")
	}
	return chosen, errors.Join(fmt.Errorf("pg_dump and pg_restore of PostgreSQL %d or newer are needed, and %s: install them (apt-get install postgresql-client-%[1]d)", atLeast, are), broken)
}

// Command is one of the tools, "pg_dump" or "pg_restore", with the variables that say
// which database it works on. It ends when ctx does.
func (t Tools) Command(ctx context.Context, name string, env []string, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, filepath.Join(t.Dir, name), args...)
	c.Env = append(environment(t.Dir), env...)
	return c
}

// probe asks a program of each folder for its version, and sorts the newest
// first. A folder without it is left out; the error is of those that have one
// which does not work.
func probe(ctx context.Context, dirs []string, program string) (found []binaries, broken error) {
	for _, dir := range dirs {
		c := exec.CommandContext(ctx, filepath.Join(dir, program), "--version")
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
