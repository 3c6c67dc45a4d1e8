package blob

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"
)

// Folder keeps blobs as files below a folder. A file is written aside, flushed to
// the disk and renamed, so that neither a crash nor a loss of power leaves half a
// file under a key.
type Folder struct{ root *os.Root }

// OpenFolder opens a folder, making it if need be, and removes what interrupted
// writes left behind.
func OpenFolder(dir string) (*Folder, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("the folder for documents: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("the folder for documents: %w", err)
	}
	f := &Folder{root}
	return f, f.sweep()
}

// Close gives the folder back.
func (f *Folder) Close() error { return f.root.Close() }

const asidePrefix = ".writing-"

// sweep removes unfinished files. They are an hour old at least, so that another
// process that shares the folder keeps what it is writing.
func (f *Folder) sweep() error {
	return fs.WalkDir(f.root.FS(), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasPrefix(entry.Name(), asidePrefix) {
			return err
		}
		if info, err := entry.Info(); err == nil && time.Since(info.ModTime()) > time.Hour {
			return f.root.Remove(name)
		}
		return nil
	})
}

// Put implements Store.
func (f *Folder) Put(ctx context.Context, key string, body io.ReadSeeker, size int64, _ string) (err error) {
	dir := path.Dir(key)
	aside := path.Join(dir, asidePrefix+path.Base(key))
	file, err := f.create(dir, aside)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = f.root.Remove(aside)
		}
	}()
	if _, err = body.Seek(0, io.SeekStart); err == nil {
		var n int64
		n, err = io.Copy(file, readerContext{ctx, body})
		if err == nil && n != size {
			err = fmt.Errorf("%d bytes were announced and %d came", size, n)
		}
	}
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	if err = f.root.Rename(aside, key); err != nil {
		return err
	}
	return f.syncDir(dir)
}

// create makes a file and the folder that it is in. Who deletes the last blob of a folder
// takes the folder along, perhaps before the file is in it: then it is made again.
func (f *Folder) create(dir, name string) (file *os.File, err error) {
	for range 100 {
		if err = f.makeDirs(dir); err == nil {
			file, err = f.root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		}
		if !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	return file, err
}

// makeDirs makes the folders of a key, and flushes each new one's entry in its
// parent: a file is only as durable as the path to it.
func (f *Folder) makeDirs(dir string) error {
	if dir == "." {
		return nil
	}
	if _, err := f.root.Stat(dir); err == nil {
		return nil
	}
	if err := f.makeDirs(path.Dir(dir)); err != nil {
		return err
	}
	if err := f.root.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return f.syncDir(path.Dir(dir))
}

func (f *Folder) syncDir(dir string) error {
	d, err := f.root.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// readerContext stops a copy when the caller has given up.
type readerContext struct {
	ctx context.Context
	r   io.Reader
}

func (r readerContext) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}

// Open implements Store.
func (f *Folder) Open(_ context.Context, key string) (io.ReadSeekCloser, error) {
	file, err := f.root.Open(key)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNotFound
	}
	return file, err
}

// Delete implements Store.
func (f *Folder) Delete(_ context.Context, key string) error {
	if err := f.root.Remove(key); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	// The folder that held it goes as well if it is empty now; Remove refuses otherwise.
	_ = f.root.Remove(path.Dir(key))
	return nil
}

// List implements Store.
func (f *Folder) List(ctx context.Context, before time.Time, each func(key string) error) error {
	return fs.WalkDir(f.root.FS(), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || strings.HasPrefix(entry.Name(), asidePrefix) {
			return err
		}
		info, err := entry.Info()
		if err != nil || !info.ModTime().Before(before) {
			return nil // gone meanwhile, or too young
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		return each(name)
	})
}

// Check implements Store: it writes a byte and removes it.
func (f *Folder) Check(context.Context) error {
	probe := asidePrefix + "probe-" + rand.Text()
	if err := f.root.WriteFile(probe, []byte{0}, 0o600); err != nil {
		return err
	}
	return f.root.Remove(probe)
}
