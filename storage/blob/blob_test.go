package blob

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"platen"
	"platen/delivery/s3test"
)

// testStore is the contract of a Store (house rule 11): every implementation runs it.
func testStore(t *testing.T, store Store) {
	ctx := t.Context()
	content := make([]byte, 300_000)
	rand.Read(content)
	put := func(t *testing.T, key string) {
		t.Helper()
		if err := store.Put(ctx, key, bytes.NewReader(content), int64(len(content)), "application/pdf"); err != nil {
			t.Fatal(err)
		}
	}

	t.Run("what was put is read back whole and from any offset", func(t *testing.T) {
		put(t, "sub_a/1-x.pdf")
		blob, err := store.Open(ctx, "sub_a/1-x.pdf")
		if err != nil {
			t.Fatal(err)
		}
		defer blob.Close()
		if size, err := blob.Seek(0, io.SeekEnd); err != nil || size != int64(len(content)) {
			t.Fatalf("size %d, %v", size, err)
		}
		for _, offset := range []int64{0, 1, 150_000, int64(len(content)) - 1} {
			if _, err := blob.Seek(offset, io.SeekStart); err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(blob)
			if err != nil || !bytes.Equal(got, content[offset:]) {
				t.Errorf("from %d: %d bytes, %v", offset, len(got), err)
			}
		}
	})
	t.Run("a blob that is not there is ErrNotFound", func(t *testing.T) {
		if _, err := store.Open(ctx, "sub_none/1.pdf"); !errors.Is(err, ErrNotFound) {
			t.Errorf("Open = %v", err)
		}
		if err := store.Delete(ctx, "sub_none/1.pdf"); err != nil {
			t.Errorf("Delete = %v", err)
		}
	})
	t.Run("a wrong size stores nothing", func(t *testing.T) {
		if err := store.Put(ctx, "sub_short/1.pdf", bytes.NewReader(content), int64(len(content))+1, "application/pdf"); err == nil {
			t.Fatal("no error")
		}
		if _, err := store.Open(ctx, "sub_short/1.pdf"); !errors.Is(err, ErrNotFound) {
			t.Errorf("Open = %v", err)
		}
	})
	t.Run("a cancelled write stores nothing", func(t *testing.T) {
		cancelled, cancel := context.WithCancel(ctx)
		cancel()
		if err := store.Put(cancelled, "sub_cancelled/1.pdf", bytes.NewReader(content), int64(len(content)), "application/pdf"); err == nil {
			t.Fatal("no error")
		}
		if _, err := store.Open(ctx, "sub_cancelled/1.pdf"); !errors.Is(err, ErrNotFound) {
			t.Errorf("Open = %v", err)
		}
	})
	t.Run("a body that fails in the middle stores nothing", func(t *testing.T) {
		broken := &failingBody{bytes.NewReader(content), 150_000}
		if err := store.Put(ctx, "sub_broken/1.pdf", broken, int64(len(content)), "application/pdf"); !errors.Is(err, errBroken) {
			t.Fatalf("Put = %v", err)
		}
		if _, err := store.Open(ctx, "sub_broken/1.pdf"); !errors.Is(err, ErrNotFound) {
			t.Errorf("Open = %v", err)
		}
		put(t, "sub_broken/1.pdf") // nothing is in the way of another attempt
	})
	t.Run("an empty blob is one", func(t *testing.T) {
		if err := store.Put(ctx, "sub_empty/1.pdf", bytes.NewReader(nil), 0, "application/pdf"); err != nil {
			t.Fatal(err)
		}
		if got := read(t, store, "sub_empty/1.pdf"); len(got) != 0 {
			t.Errorf("%d bytes", len(got))
		}
	})
	t.Run("the keys that Platen makes are told apart", func(t *testing.T) {
		keys := []string{"sub_0aZ9fDc12m7wEU0wH6/1-aB3dE6gH.pdf", "sub_0aZ9fDc12m7wEU0wH6/2-aB3dE6gH.pdf", "sub_0az9fDc12m7wEU0wH6/1-aB3dE6gH.pdf",
			"com_0aZ9fDc12m7wEU0wH6/12-AB3dE6gH.webp", "upl_0aZ9fDc12m7wEU0wH6/1-AB3dE6gH.pdf"}
		for _, key := range keys {
			if err := store.Put(ctx, key, strings.NewReader(key), int64(len(key)), "application/pdf"); err != nil {
				t.Fatal(err)
			}
		}
		for _, key := range keys {
			if got := read(t, store, key); string(got) != key {
				t.Errorf("under %s is %q", key, got)
			}
		}
	})
	t.Run("a key that was used holds a whole blob whatever comes of a second write", func(t *testing.T) {
		put(t, "sub_twice/1.pdf")
		other := bytes.Repeat([]byte("other"), 50_000)
		if err := store.Put(ctx, "sub_twice/1.pdf", bytes.NewReader(other), int64(len(other)), "application/pdf"); err != nil {
			t.Logf("refused: %v", err)
		}
		if err := store.Put(ctx, "sub_twice/1.pdf", &failingBody{bytes.NewReader(content), 10}, int64(len(content)), "application/pdf"); err == nil {
			t.Error("a body that fails was stored")
		}
		if got := read(t, store, "sub_twice/1.pdf"); !bytes.Equal(got, content) && !bytes.Equal(got, other) {
			t.Errorf("%d bytes that nobody wrote", len(got))
		}
	})
	t.Run("many are written at once, and others deleted beside them", func(t *testing.T) {
		var wg sync.WaitGroup
		for writer := range 8 {
			wg.Go(func() {
				for n := range 10 {
					// Two writers have a folder together, so that one deletes what makes it empty.
					key := fmt.Sprintf("sub_%d/%d-%d.pdf", writer/2, writer, n)
					if err := store.Put(ctx, key, strings.NewReader(key), int64(len(key)), "application/pdf"); err != nil {
						t.Errorf("Put(%s) = %v", key, err)
						return
					}
					if got := read(t, store, key); string(got) != key {
						t.Errorf("under %s is %q", key, got)
					}
					if err := store.Delete(ctx, key); err != nil {
						t.Errorf("Delete(%s) = %v", key, err)
					}
				}
			})
		}
		wg.Wait()
	})
	t.Run("who reads a blob that is deleted gets all of it or an error", func(t *testing.T) {
		put(t, "sub_deleted/1.pdf")
		blob, err := store.Open(ctx, "sub_deleted/1.pdf")
		if err != nil {
			t.Fatal(err)
		}
		defer blob.Close()
		if _, err := io.ReadFull(blob, make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
		if err := store.Delete(ctx, "sub_deleted/1.pdf"); err != nil {
			t.Fatal(err)
		}
		if rest, err := io.ReadAll(blob); err == nil && !bytes.Equal(rest, content[1000:]) {
			t.Errorf("%d bytes and no error", len(rest))
		}
		// From another offset, which may need another request.
		if _, err := blob.Seek(5, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		if rest, err := io.ReadAll(blob); err == nil && !bytes.Equal(rest, content[5:]) {
			t.Errorf("%d bytes and no error", len(rest))
		}
	})
	t.Run("listing shows what is old enough, deleting removes it", func(t *testing.T) {
		put(t, "sub_old/1-y.pdf")
		list := func(before time.Time) map[string]bool {
			keys := map[string]bool{}
			if err := store.List(ctx, before, func(key string) error { keys[key] = true; return nil }); err != nil {
				t.Fatal(err)
			}
			return keys
		}
		if list(time.Now().Add(-time.Hour))["sub_old/1-y.pdf"] {
			t.Error("a new blob is listed as an old one")
		}
		if !list(time.Now().Add(time.Hour))["sub_old/1-y.pdf"] {
			t.Error("the blob is not listed")
		}
		if err := store.Delete(ctx, "sub_old/1-y.pdf"); err != nil {
			t.Fatal(err)
		}
		if list(time.Now().Add(time.Hour))["sub_old/1-y.pdf"] {
			t.Error("the blob is listed after it was deleted")
		}
	})
	t.Run("the store says that it works, and keeps nothing of the trial", func(t *testing.T) {
		count := func() (n int) {
			if err := store.List(ctx, time.Now().Add(time.Hour), func(string) error { n++; return nil }); err != nil {
				t.Fatal(err)
			}
			return n
		}
		before := count()
		if err := store.Check(ctx); err != nil {
			t.Error(err)
		}
		if err := Probe(ctx, store); err != nil {
			t.Error(err)
		}
		if after := count(); after != before {
			t.Errorf("%d blobs, and %d before", after, before)
		}
	})
}

func read(t *testing.T, store Store, key string) []byte {
	t.Helper()
	blob, err := store.Open(t.Context(), key)
	if err != nil {
		t.Errorf("Open(%s) = %v", key, err)
		return nil
	}
	defer blob.Close()
	content, err := io.ReadAll(blob)
	if err != nil {
		t.Errorf("reading %s: %v", key, err)
	}
	return content
}

var errBroken = errors.New("the disk that this is read from is broken")

// failingBody fails after so many bytes.
type failingBody struct {
	*bytes.Reader
	good int64
}

func (f *failingBody) Read(p []byte) (int, error) {
	left := f.good - (f.Size() - int64(f.Len()))
	if left <= 0 {
		return 0, errBroken
	}
	return f.Reader.Read(p[:min(int64(len(p)), left)])
}

// WriteTo hides that of bytes.Reader, which does not fail.
func (f *failingBody) WriteTo(w io.Writer) (int64, error) {
	return io.Copy(w, struct{ io.Reader }{f})
}

func TestR9_1OwnCopiesInAFolder(t *testing.T) {
	t.Parallel()
	folder, err := OpenFolder(filepath.Join(t.TempDir(), "documents"))
	if err != nil {
		t.Fatal(err)
	}
	defer folder.Close()
	testStore(t, folder)
}

// ownBucket is the in-process server with a bucket, and a key that may do what Platen needs.
func ownBucket(t *testing.T) (*s3test.Server, S3Options) {
	t.Helper()
	server := s3test.New(t).Own()
	server.CreateBucket("own-copies", "us-east-1")
	server.AddKey("AKOWN", "secret", s3test.FullAccess("own-copies"))
	return server, S3Options{Bucket: "own-copies", Region: "us-east-1", Endpoint: server.URL, PathStyle: true, AccessKeyID: "AKOWN", SecretAccessKey: platen.NewSecret("secret")}
}

func TestR9_1OwnCopiesInABucket(t *testing.T) {
	t.Parallel()
	_, options := ownBucket(t)
	testStore(t, OpenS3(options))
	t.Run("below a prefix", func(t *testing.T) {
		options.Prefix = "/platen/production/"
		below := OpenS3(options)
		testStore(t, below)
		if err := below.List(t.Context(), time.Now().Add(time.Hour), func(key string) error {
			if strings.HasPrefix(key, "platen") {
				t.Errorf("%s is listed with the prefix", key)
			}
			return nil
		}); err != nil {
			t.Error(err)
		}
	})
}

// What docs/operating.md says that the key needs, and nothing more.
var needed = []string{"s3:PutObject", "s3:GetObject", "s3:DeleteObject", "s3:ListBucket"}

func TestR9_1OwnCopiesOnRealServers(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(*testing.T) *s3test.Real{
		"versitygw": func(t *testing.T) *s3test.Real { return s3test.StartVersitygw(t, needed...) }, "MinIO": s3test.StartMinIO} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := start(t)
			options := S3Options{Bucket: server.Bucket, Prefix: "platen", Region: "us-east-1", Endpoint: server.Endpoint, PathStyle: true,
				AccessKeyID: server.AccessKey, SecretAccessKey: platen.NewSecret(server.Secret)}
			testStore(t, OpenS3(options))
			t.Run("an answer that is none is told apart from a blob that is not there", func(t *testing.T) { testRefusals(t, options) })
		})
	}
}

func TestAStoreThatCannotBeReachedIsNotOneWithoutTheBlob(t *testing.T) {
	t.Parallel()
	server, options := ownBucket(t)
	testRefusals(t, options)
	// A page of some proxy is no word of the store's.
	server.Fault("own-copies", s3test.HTML(http.StatusNotFound))
	if _, err := OpenS3(options).Open(t.Context(), "sub_a/1.pdf"); err == nil || errors.Is(err, ErrNotFound) {
		t.Errorf("a page: %v", err)
	}
}

// testRefusals checks what comes of a bucket and of keys that are not there.
func testRefusals(t *testing.T, options S3Options) {
	for name, test := range map[string]struct {
		change func(*S3Options)
		say    string
	}{
		"another secret": {func(o *S3Options) { o.SecretAccessKey = platen.NewSecret("another-secret") }, "SignatureDoesNotMatch"},
		"no such key":    {func(o *S3Options) { o.AccessKeyID = "AKNOBODY" }, "InvalidAccessKeyId"},
		"no such bucket": {func(o *S3Options) { o.Bucket = "nowhere" }, "NoSuchBucket"},
	} {
		changed := options
		test.change(&changed)
		store := OpenS3(changed)
		want := func(what string, err error) {
			t.Helper()
			if err == nil || errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), test.say) {
				t.Errorf("%s: %s = %v, want %s", name, what, err, test.say)
			}
		}
		_, err := store.Open(t.Context(), "sub_a/1.pdf")
		want("Open", err)
		want("Put", store.Put(t.Context(), "sub_a/1.pdf", strings.NewReader("x"), 1, "application/pdf"))
		want("Delete", store.Delete(t.Context(), "sub_a/1.pdf"))
		want("Check", store.Check(t.Context()))
		want("Probe", Probe(t.Context(), store))
	}
}

func TestAKeyThatLacksARightIsFoundAtTheStart(t *testing.T) {
	t.Parallel()
	server, options := ownBucket(t)
	store := OpenS3(options)
	const bucket = "own-copies"
	for lacking, policy := range map[string]s3test.Policy{
		"it cannot be written to":         {Get: []string{bucket}, Delete: []string{bucket}, List: []string{bucket}},
		"what was written cannot be read": {Put: []string{bucket}, Delete: []string{bucket}, List: []string{bucket}},
		"cannot be deleted":               {Put: []string{bucket}, Get: []string{bucket}, List: []string{bucket}},
		"it cannot be listed":             {Put: []string{bucket}, Get: []string{bucket}, Delete: []string{bucket}},
	} {
		server.AddKey("AKOWN", "secret", policy)
		if err := Probe(t.Context(), store); err == nil || !strings.Contains(err.Error(), lacking) || !strings.Contains(err.Error(), "AccessDenied") {
			t.Errorf("%v, want %q", err, lacking)
		}
	}
}

func TestABlobThatIsCutOffOnItsWayIsAnError(t *testing.T) {
	t.Parallel()
	server, options := ownBucket(t)
	store := OpenS3(options)
	content := bytes.Repeat([]byte("0123456789"), 100_000)
	if err := store.Put(t.Context(), "sub_a/1.pdf", bytes.NewReader(content), int64(len(content)), "application/pdf"); err != nil {
		t.Fatal(err)
	}
	for name, faults := range map[string][]s3test.Fault{
		"from the start":      {s3test.CutOff(400_000)},
		"in a second stretch": {s3test.Pass(), s3test.CutOff(400_000)},
		"without an answer":   {s3test.Pass(), s3test.Reset(), s3test.Reset(), s3test.Reset()},
	} {
		server.Fault("own-copies/sub_a/1.pdf", faults...)
		blob, err := store.Open(t.Context(), "sub_a/1.pdf")
		if err != nil {
			t.Fatal(err)
		}
		if len(faults) > 1 {
			if _, err := blob.Seek(10, io.SeekStart); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := io.ReadAll(blob); err == nil {
			t.Errorf("%s: %d bytes and no error", name, len(got))
		}
		if err := blob.Close(); err != nil {
			t.Error(err)
		}
	}
	server.Fault("own-copies/sub_a/1.pdf", s3test.Reset(), s3test.Reset(), s3test.Reset())
	if _, err := store.Open(t.Context(), "sub_a/1.pdf"); err == nil || errors.Is(err, ErrNotFound) {
		t.Errorf("a reset: %v", err)
	}
}

func TestAServerThatStopsInTheMiddleIsGivenUp(t *testing.T) {
	t.Parallel()
	server, options := ownBucket(t)
	store := OpenS3(options)
	// More than the buffers between the two take.
	content := make([]byte, 32<<20)
	if err := store.Put(t.Context(), "sub_a/1.pdf", bytes.NewReader(content), int64(len(content)), "application/pdf"); err != nil {
		t.Fatal(err)
	}
	store.patience = 100 * time.Millisecond
	server.Fault("own-copies/sub_a/1.pdf", s3test.StopSending(1<<20))
	blob, err := store.Open(t.Context(), "sub_a/1.pdf")
	if err != nil {
		t.Fatal(err)
	}
	defer blob.Close()
	if n, err := io.Copy(io.Discard, blob); !errors.Is(err, errStalled) || errors.Is(err, context.Canceled) {
		t.Errorf("reading = %d, %v", n, err)
	}
	server.Fault("own-copies/sub_b/1.pdf", s3test.StopReading())
	if err := store.Put(t.Context(), "sub_b/1.pdf", bytes.NewReader(content), int64(len(content)), "application/pdf"); !errors.Is(err, errStalled) {
		t.Errorf("Put = %v", err)
	}
	server.Fault("own-copies/sub_c/1.pdf", s3test.Hang())
	if _, err := store.Open(t.Context(), "sub_c/1.pdf"); !errors.Is(err, errStalled) {
		t.Errorf("Open = %v", err)
	}
	release := server.Hold("own-copies")
	defer release()
	if err := store.Delete(t.Context(), "sub_a/1.pdf"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Delete = %v", err)
	}
	if err := store.List(t.Context(), time.Now(), func(string) error { return nil }); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("List = %v", err)
	}
}

func TestMoreThanAThousandAreListed(t *testing.T) {
	t.Parallel()
	_, options := ownBucket(t)
	store := OpenS3(options)
	const many = 1005 // a page of S3's has a thousand
	var wg sync.WaitGroup
	for part := range 15 {
		wg.Go(func() {
			for n := range many / 15 {
				if err := store.Put(t.Context(), fmt.Sprintf("sub_%d/%d.pdf", part, n), strings.NewReader("x"), 1, "application/pdf"); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	keys := map[string]bool{}
	if err := store.List(t.Context(), time.Now().Add(time.Hour), func(key string) error { keys[key] = true; return nil }); err != nil || len(keys) != many {
		t.Errorf("%d keys, %v", len(keys), err)
	}
	stop := errors.New("enough")
	if err := store.List(t.Context(), time.Now().Add(time.Hour), func(string) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("List = %v", err)
	}
}

func TestAFolderIsPrivateAndForgetsInterruptedWrites(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "documents")
	folder, err := OpenFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := folder.Put(t.Context(), "sub_a/1.pdf", bytes.NewReader([]byte("x")), 1, "application/pdf"); err != nil {
		t.Fatal(err)
	}
	folder.Close()
	old, young := filepath.Join(dir, "sub_a", asidePrefix+"old.pdf"), filepath.Join(dir, "sub_a", asidePrefix+"young.pdf")
	for _, name := range []string{old, young} {
		if err := os.WriteFile(name, []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	past := time.Now().Add(-2 * time.Hour)
	if err := os.Chtimes(old, past, past); err != nil {
		t.Fatal(err)
	}
	if folder, err = OpenFolder(dir); err != nil {
		t.Fatal(err)
	}
	defer folder.Close()
	if _, err := os.Stat(old); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("an interrupted write was kept: %v", err)
	}
	if _, err := os.Stat(young); err != nil {
		t.Errorf("a write that may still go on was removed: %v", err)
	}
	for name, want := range map[string]os.FileMode{dir: 0o700, filepath.Join(dir, "sub_a"): 0o700, filepath.Join(dir, "sub_a", "1.pdf"): 0o600} {
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v; want %v", name, info.Mode(), err, want)
		}
	}
	if _, err := folder.Open(t.Context(), "../secret"); err == nil {
		t.Error("a key led out of the folder")
	}
}
