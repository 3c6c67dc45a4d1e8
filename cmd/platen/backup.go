package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"platen/embedpg"
	"platen/keyring"
	"platen/storage"
	"platen/storage/blob"
)

// A backup is a folder. It has another name until all is in it and flushed to the disk,
// and its manifest is written last: what an interrupted one leaves never looks whole.
const (
	manifestFile  = "manifest.json"
	databaseFile  = "database.dump"   // as pg_dump writes it, in its custom format
	documentsFile = "documents.jsonl" // a storage.Copy a line, of each copy in documentsDir
	documentsDir  = "documents"       // as blob.Folder keeps them
	missingFile   = "missing.txt"     // keys of copies that could not be read; absent without
	unfinished    = ".unfinished"

	backupFormat = 1
	// copiers is how many copies are on their way at a time: each waits for disks or networks.
	copiers = 8
)

// manifest says what a backup is.
type manifest struct {
	Format    int       `json:"format"`
	MadeAt    time.Time `json:"madeAt"`
	Schema    int64     `json:"schema"` // version of Platen's tables
	Server    string    `json:"postgresql"`
	Major     int       `json:"postgresqlMajor"`
	Tool      int       `json:"pgDumpMajor"`
	KeyCheck  []byte    `json:"keyCheck"` // what proves the master key, which is not here
	Database  part      `json:"database"`
	List      part      `json:"documentsList"`
	Documents tally     `json:"documents"`
}

// part is a file of a backup.
type part struct {
	ByteSize int64  `json:"byteSize"`
	SHA256   string `json:"sha256"`
}

// tally counts copies.
type tally struct {
	mu       sync.Mutex
	Count    int64 `json:"count"`
	ByteSize int64 `json:"byteSize"`
	Expired  int64 `json:"expired"` // deleted, as they should be, before their turn came
	Missing  int64 `json:"missing"` // still named by the database, and gone or damaged
}

// backup is `platen backup FOLDER`. It changes nothing of the installation: a newer release
// may make it before it is started for the first time.
func backup(ctx context.Context, environ []string, stdout, stderr io.Writer, folder string) error {
	config, err := load(environ)
	if err != nil {
		return err
	}
	p := &program{config: config, operator: true, log: newLog(stderr)}
	defer p.close()
	if config.databaseURL.Reveal() == "" {
		if _, err := os.Stat(filepath.Join(config.dataDir, "postgres", "data")); errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("there is nothing to back up in %s: set PLATEN_DATA_DIR, or DATABASE_URL, as `platen serve` has it", config.dataDir)
		}
	}
	if folder, err = filepath.Abs(folder); err != nil {
		return err
	}
	if _, err := os.Lstat(folder); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s exists already: name a new folder for the backup", folder)
	}
	if err := p.openDatabase(ctx); err != nil {
		return err
	}
	lock, err := lockAside(folder + unfinished)
	if err != nil {
		return err
	}
	defer lock.Close()
	aside := lock.Name()
	defer os.RemoveAll(aside) // nothing is there any more once it was renamed
	m, err := p.write(ctx, aside)
	if err != nil {
		if ctx.Err() != nil {
			err = errors.New("interrupted; there is no backup")
		}
		return err
	}
	if err := os.Rename(aside, folder); err != nil {
		return err
	}
	if err := syncDir(filepath.Dir(folder)); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "backup     %s\ndatabase   %d bytes, of PostgreSQL %s, with tables of version %d\ndocuments  %d, %d bytes\n", folder, m.Database.ByteSize, m.Server, m.Schema, m.Documents.Count, m.Documents.ByteSize)
	if n := m.Documents.Expired; n > 0 {
		fmt.Fprintf(stdout, "expired    %d, while the backup was made\n", n)
	}
	where := "PLATEN_SECRET_KEY"
	if config.keys == nil {
		where = filepath.Join(config.dataDir, "keys", "secret.key")
	}
	fmt.Fprintf(stdout, "\nThe master key is not in it: keep %s too, and elsewhere. Without it nothing can be restored,\nand with it whoever has the backup can read every secret.\n", where)
	if n := m.Documents.Missing; n > 0 {
		return fmt.Errorf("the backup is whole but for %d documents whose copies are gone or damaged: %s names them", n, filepath.Join(folder, missingFile))
	}
	return nil
}

// lockAside makes the folder that a backup grows in. What an interrupted one left is
// removed; one that is being made has a lock on it, which ends with its process.
func lockAside(aside string) (*os.File, error) {
	for {
		err := os.Mkdir(aside, 0o700)
		existed := errors.Is(err, fs.ErrExist)
		if err != nil && !existed {
			return nil, fmt.Errorf("the folder for the backup: %w", err)
		}
		lock, err := os.Open(aside)
		if err != nil {
			return nil, fmt.Errorf("the folder for the backup: %w", err)
		}
		if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
			lock.Close()
			return nil, fmt.Errorf("%s: another backup is being made there: %w", aside, err)
		}
		if !existed {
			return lock, nil
		}
		if err := errors.Join(os.RemoveAll(aside), lock.Close()); err != nil {
			return nil, fmt.Errorf("remove what an interrupted backup left: %w", err)
		}
	}
}

// write writes all of a backup into a folder.
func (p *program) write(ctx context.Context, dir string) (*manifest, error) {
	now, err := p.db.Installation(ctx)
	if err != nil {
		return nil, err
	}
	if now.Schema == 0 {
		return nil, errors.New("the database has no tables of Platen's: there is nothing to back up")
	}
	m := &manifest{Format: backupFormat, MadeAt: time.Now().UTC(), Schema: now.Schema, Server: now.Server, Major: now.Major, KeyCheck: now.KeyCheck}
	blobs, err := p.openBlobs()
	if err != nil {
		return nil, err
	}
	wanted := filepath.Join(dir, "wanted.jsonl")
	if err := p.writeDatabase(ctx, dir, wanted, m); err != nil {
		return nil, err
	}
	// The documents come after the database: they are never changed, only deleted.
	if err := p.writeDocuments(ctx, blobs, dir, wanted, m); err != nil {
		return nil, err
	}
	if err := os.Remove(wanted); err != nil {
		return nil, err
	}
	if _, err := writePart(filepath.Join(dir, manifestFile), func(w io.Writer) error {
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "  ")
		return encoder.Encode(m)
	}); err != nil {
		return nil, err
	}
	return m, syncDir(dir)
}

// writeDatabase writes the database and the list of the copies that it names, both as of
// one moment.
func (p *program) writeDatabase(ctx context.Context, dir, wanted string, m *manifest) error {
	tools, err := embedpg.FindTools(ctx, m.Major)
	if err != nil {
		return err
	}
	m.Tool = tools.Major
	env, err := p.db.ToolEnvironment()
	if err != nil {
		return err
	}
	snapshot, err := p.db.Snapshot(ctx)
	if err != nil {
		return err
	}
	defer snapshot.Close()
	// The history means nothing elsewhere (storage.Epoch), and would be the most of it.
	dump := tools.Command(ctx, "pg_dump", env, "--format=custom", "--no-owner", "--no-privileges", "--snapshot="+snapshot.ID, "--exclude-table-data=events")
	var complaints bytes.Buffer
	dump.Stderr = &complaints
	if m.Database, err = writePart(filepath.Join(dir, databaseFile), func(w io.Writer) error {
		dump.Stdout = w
		return dump.Run()
	}); err != nil {
		return fmt.Errorf("%s: %w\n%s", dump.Path, err, bytes.TrimSpace(complaints.Bytes()))
	}
	_, err = writePart(wanted, func(w io.Writer) error {
		encoder := json.NewEncoder(w)
		return snapshot.Copies(ctx, func(c storage.Copy) error { return encoder.Encode(c) })
	})
	return err
}

// writeDocuments copies what is wanted, and lists what it got.
func (p *program) writeDocuments(ctx context.Context, from blob.Store, dir, wanted string, m *manifest) error {
	to, err := blob.OpenFolder(filepath.Join(dir, documentsDir))
	if err != nil {
		return err
	}
	defer to.Close()
	var missing []string
	m.List, err = writePart(filepath.Join(dir, documentsFile), func(w io.Writer) error {
		encoder := json.NewEncoder(w)
		return eachCopy(ctx, wanted, func(ctx context.Context, c storage.Copy) error {
			err := transfer(ctx, from, to, c)
			gone := errors.Is(err, blob.ErrNotFound)
			if err != nil && !gone && !errors.Is(err, errDamaged) {
				return fmt.Errorf("the document %s: %w", c.Key, err)
			}
			expired := false
			if gone {
				unnamed, err := p.db.UnnamedBlobs(ctx, []string{c.Key})
				if err != nil {
					return err
				}
				expired = len(unnamed) > 0
			}
			m.Documents.mu.Lock()
			defer m.Documents.mu.Unlock()
			switch {
			case err == nil:
				m.Documents.Count++
				m.Documents.ByteSize += c.ByteSize
				return encoder.Encode(c)
			case expired:
				m.Documents.Expired++
			default:
				p.log.ErrorContext(ctx, "Platen's own copy cannot be read", "blob", c.Key, "error", err)
				m.Documents.Missing++
				missing = append(missing, c.Key)
			}
			return nil
		})
	})
	if err != nil || len(missing) == 0 {
		return err
	}
	_, err = writePart(filepath.Join(dir, missingFile), func(w io.Writer) error {
		_, err := io.WriteString(w, strings.Join(missing, "\n")+"\n")
		return err
	})
	return err
}

// restore is `platen restore FOLDER`. The database comes last and in one transaction, so
// that an installation is empty until all of it is there.
func restore(ctx context.Context, environ []string, stdout, stderr io.Writer, folder string) error {
	config, err := load(environ)
	if err != nil {
		return err
	}
	m, err := readManifest(folder)
	if err != nil {
		return err
	}
	// Not as an operator's command beside a server: the private PostgreSQL is refused while one runs.
	p := &program{config: config, log: newLog(stderr)}
	defer p.close()
	// What can be refused without touching anything comes first.
	if err := p.checkKeysOf(m); err != nil {
		return err
	}
	for name, want := range map[string]part{databaseFile: m.Database, documentsFile: m.List} {
		if err := checkPart(filepath.Join(folder, name), want); err != nil {
			return err
		}
	}
	if err := p.openDatabase(ctx); err != nil {
		return err
	}
	now, err := p.db.Installation(ctx)
	if err != nil {
		return err
	}
	if now.Tables {
		return errors.New("the database is not empty: a backup is restored into an empty one only. Set PLATEN_DATA_DIR to a new folder that has the keys of the old one, or make a new database for DATABASE_URL; nothing was changed")
	}
	if now.Major < m.Major {
		return fmt.Errorf("the backup is of PostgreSQL %s, and this is %s: restore it into version %d or newer; nothing was changed", m.Server, now.Server, m.Major)
	}
	tools, err := embedpg.FindTools(ctx, max(now.Major, m.Tool))
	if err != nil {
		return err
	}
	blobs, err := p.openBlobs()
	if err != nil {
		return err
	}
	if err := blob.Probe(ctx, blobs); err != nil {
		return fmt.Errorf("PLATEN_BLOB_URL: the store of Platen's own copies does not work: %w", err)
	}
	if err := readDocuments(ctx, folder, blobs, m); err != nil {
		return err
	}
	env, err := p.db.ToolEnvironment()
	if err != nil {
		return err
	}
	// The empty name stands for what the environment names; without one, it would print the SQL.
	load := tools.Command(ctx, "pg_restore", env, "--dbname=", "--no-owner", "--no-privileges", "--single-transaction", filepath.Join(folder, databaseFile))
	if out, err := load.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w; the database is as it was\n%s", load.Path, err, bytes.TrimSpace(out))
	}
	fmt.Fprintf(stdout, "restored   %s, made at %s\ndatabase   %d bytes\ndocuments  %d, %d bytes\n\nWhat waited goes on when Platen is started. Do not start it while the installation that was backed up\nruns: both would make the deliveries that were waiting.\n",
		folder, m.MadeAt.Format(time.RFC3339), m.Database.ByteSize, m.Documents.Count, m.Documents.ByteSize)
	if n := m.Documents.Missing; n > 0 {
		fmt.Fprintf(stdout, "\n%d documents had lost their copies before the backup was made: %s names them.\n", n, filepath.Join(folder, missingFile))
	}
	return nil
}

func readManifest(folder string) (*manifest, error) {
	text, err := os.ReadFile(filepath.Join(folder, manifestFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s is no whole backup: it has no %s, which is written last", folder, manifestFile)
	}
	if err != nil {
		return nil, err
	}
	m := &manifest{}
	if err := json.Unmarshal(text, m); err != nil {
		return nil, fmt.Errorf("%s of the backup is damaged: %w", manifestFile, err)
	}
	if m.Format != backupFormat {
		return nil, fmt.Errorf("the backup has the format %d, and this release reads %d: restore it with the release that made it", m.Format, backupFormat)
	}
	if known := storage.SchemaVersion(); m.Schema > known {
		return nil, fmt.Errorf("the backup is of a newer Platen, with tables of version %d, and this one knows %d: restore it with that release", m.Schema, known)
	}
	return m, nil
}

// checkKeysOf makes sure that the keys are those of a backup, and makes none.
func (p *program) checkKeysOf(m *manifest) (err error) {
	where := "PLATEN_SECRET_KEY"
	if p.keys = p.config.keys; p.keys == nil {
		where = filepath.Join(p.config.dataDir, "keys", "secret.key")
		if _, err := os.Stat(where); errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("there is no master key: put the one of the installation that was backed up into %s, or set PLATEN_SECRET_KEY; a backup does not have it", where)
		}
		if p.keys, err = keyring.LoadOrCreate(where); err != nil {
			return err
		}
	}
	if m.KeyCheck != nil && !proves(m.KeyCheck, p.keys) {
		return fmt.Errorf("%s is not the master key of the installation that was backed up: give that one", where)
	}
	return nil
}

// readDocuments puts the copies of a backup back.
func readDocuments(ctx context.Context, folder string, to blob.Store, m *manifest) error {
	from, err := blob.OpenFolder(filepath.Join(folder, documentsDir))
	if err != nil {
		return err
	}
	defer from.Close()
	return eachCopy(ctx, filepath.Join(folder, documentsFile), func(ctx context.Context, c storage.Copy) error {
		err := transfer(ctx, from, to, c)
		if errors.Is(err, blob.ErrNotFound) || errors.Is(err, errDamaged) {
			return fmt.Errorf("the backup is damaged: %s: %w; the database is as it was", filepath.Join(folder, documentsDir, c.Key), err)
		}
		return err
	})
}

// eachCopy calls f for each line of a list, for several at a time, until one fails.
func eachCopy(ctx context.Context, list string, f func(context.Context, storage.Copy) error) error {
	file, err := os.Open(list)
	if err != nil {
		return err
	}
	defer file.Close()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	copies := make(chan storage.Copy)
	var wg sync.WaitGroup
	for range copiers {
		wg.Go(func() {
			for c := range copies {
				if err := f(ctx, c); err != nil {
					cancel(err)
					return
				}
			}
		})
	}
	lines := json.NewDecoder(bufio.NewReader(file))
	for ctx.Err() == nil {
		var c storage.Copy
		if err = lines.Decode(&c); err != nil {
			break
		}
		select {
		case copies <- c:
		case <-ctx.Done():
		}
	}
	close(copies)
	wg.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

var errDamaged = errors.New("it is not what its hash says")

// transfer copies one copy from one store to another, if it is what it should be.
func transfer(ctx context.Context, from, to blob.Store, c storage.Copy) error {
	content, err := from.Open(ctx, c.Key)
	if err != nil {
		return err
	}
	defer content.Close()
	return to.Put(ctx, c.Key, &checked{ReadSeeker: content, want: c, sum: sha256.New()}, c.ByteSize, c.ContentType)
}

// checked fails at its end if what was read from the start on is not what is wanted.
type checked struct {
	io.ReadSeeker
	want  storage.Copy
	sum   hash.Hash
	n     int64
	apart bool // reading did not begin at the start
}

func (c *checked) Seek(offset int64, whence int) (int64, error) {
	at, err := c.ReadSeeker.Seek(offset, whence)
	if err == nil && (c.apart || at != c.n) {
		c.sum.Reset()
		c.n, c.apart = 0, at != 0
	}
	return at, err
}

func (c *checked) Read(p []byte) (int, error) {
	n, err := c.ReadSeeker.Read(p)
	c.sum.Write(p[:n])
	c.n += int64(n)
	if err == io.EOF && !c.apart && (c.n != c.want.ByteSize || hex.EncodeToString(c.sum.Sum(nil)) != c.want.SHA256) {
		err = errDamaged
	}
	return n, err
}

// writePart writes a file, flushes it to the disk and tells what it is.
func writePart(path string, f func(io.Writer) error) (p part, err error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return p, err
	}
	defer file.Close()
	sum := sha256.New()
	buffered := bufio.NewWriterSize(io.MultiWriter(file, sum), 1<<20)
	if err := f(buffered); err != nil {
		return p, err
	}
	if err := errors.Join(buffered.Flush(), file.Sync()); err != nil {
		return p, err
	}
	end, err := file.Seek(0, io.SeekCurrent)
	return part{end, hex.EncodeToString(sum.Sum(nil))}, err
}

// checkPart makes sure that a file is what a manifest says.
func checkPart(path string, want part) error {
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("the backup is damaged: %w", err)
	}
	defer file.Close()
	sum := sha256.New()
	n, err := io.Copy(sum, file)
	if err == nil && n != want.ByteSize {
		err = fmt.Errorf("%s has %d bytes instead of %d", path, n, want.ByteSize)
	}
	if err == nil && hex.EncodeToString(sum.Sum(nil)) != want.SHA256 {
		err = fmt.Errorf("%s: %w", path, errDamaged)
	}
	if err != nil {
		return fmt.Errorf("the backup is damaged: %w; nothing was changed", err)
	}
	return nil
}

func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
