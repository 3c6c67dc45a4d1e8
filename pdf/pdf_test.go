package pdf

import (
	"bytes"
	"compress/zlib"
	"context"
	"errors"
	"fmt"
	"image"
	_ "image/png"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"platen/sandbox"
)

var shared *Tool

func TestMain(m *testing.M) {
	sandbox.Main()
	var err error
	if shared, err = New(Options{Workers: 2, UID: 61234}); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	code := m.Run()
	shared.Close()
	os.Exit(code)
}

// The fixtures were printed by Chromium from pages of our own. invoice.pdf is
// tagged and has a white page with links and a dark one with an image.
// mixed.pdf has a landscape page that is shown turned and a tiny one.
func fixture(t testing.TB, name string) []byte {
	t.Helper()
	file, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return file
}

func save(t *testing.T, file []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file.pdf")
	if err := os.WriteFile(path, file, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

func pageText(t *testing.T, path string, page int) string {
	t.Helper()
	return run(t, "pdftotext", "-f", fmt.Sprint(page), "-l", fmt.Sprint(page), path, "-")
}

func mustWatermark(t *testing.T, file []byte, text string, pages int) string {
	t.Helper()
	out, info, err := shared.Watermark(context.Background(), file, text)
	if err != nil {
		t.Fatal(err)
	}
	if info.Pages != pages {
		t.Errorf("%d pages, want %d", info.Pages, pages)
	}
	path := save(t, out)
	run(t, "qpdf", "--check", path)
	for page := 1; page <= pages; page++ {
		if found := pageText(t, path, page); !strings.Contains(found, text) {
			t.Errorf("page %d has no watermark:\n%s", page, found)
		}
	}
	return path
}

func TestInspectCountsPages(t *testing.T) {
	t.Parallel()
	for name, pages := range map[string]int{"invoice.pdf": 2, "mixed.pdf": 2} {
		info, err := shared.Inspect(context.Background(), fixture(t, name))
		if err != nil || info.Pages != pages {
			t.Errorf("%s: %d pages, %v, want %d", name, info.Pages, err, pages)
		}
	}
}

var changes = regexp.MustCompile(`(?m)^(Producer|CreationDate|ModDate|File size|PDF version):.*\n`)

func TestAWatermarkIsOnEachPageAndKeepsTheRest(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"invoice.pdf", "mixed.pdf"} {
		file := fixture(t, name)
		before, after := save(t, file), mustWatermark(t, file, "TEST DOCUMENT", 2)
		for _, option := range []string{"-box", "-url", "-dests", "-struct-text"} {
			want := changes.ReplaceAllString(run(t, "pdfinfo", "-f", "1", "-l", "2", option, before), "")
			got := changes.ReplaceAllString(run(t, "pdfinfo", "-f", "1", "-l", "2", option, after), "")
			if got != want {
				t.Errorf("%s: pdfinfo %s was\n%s\nand is\n%s", name, option, want, got)
			}
		}
		for page := 1; page <= 2; page++ {
			// What is found first changes with what else is there.
			want := slices.Sorted(slices.Values(strings.Fields(pageText(t, before, page))))
			got := slices.Sorted(slices.Values(strings.Fields(strings.Replace(pageText(t, after, page), "TEST DOCUMENT", "", 1))))
			if !slices.Equal(got, want) {
				t.Errorf("%s, page %d: text was\n%s\nand is\n%s", name, page, want, got)
			}
		}
	}
}

func picture(t *testing.T, path string, page int) image.Image {
	t.Helper()
	out := filepath.Join(t.TempDir(), "page")
	run(t, "pdftoppm", "-r", "48", "-f", fmt.Sprint(page), "-l", fmt.Sprint(page), "-singlefile", "-png", path, out)
	f, err := os.Open(out + ".png")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p, _, err := image.Decode(f)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestAWatermarkIsSeenOnLightAndDarkAndOverImagesAndHidesNothing(t *testing.T) {
	t.Parallel()
	file := fixture(t, "invoice.pdf")
	before, after := save(t, file), mustWatermark(t, file, "TEST", 2)
	for page := 1; page <= 2; page++ {
		a, b := picture(t, before, page), picture(t, after, page)
		if a.Bounds() != b.Bounds() {
			t.Fatalf("page %d: %v became %v", page, a.Bounds(), b.Bounds())
		}
		changed := map[string]int{}
		for y := a.Bounds().Min.Y; y < a.Bounds().Max.Y; y++ {
			for x := a.Bounds().Min.X; x < a.Bounds().Max.X; x++ {
				ar, ag, ab, _ := a.At(x, y).RGBA()
				br, bg, bb, _ := b.At(x, y).RGBA()
				most := max(difference(ar, br), difference(ag, bg), difference(ab, bb))
				if most > 100 {
					t.Fatalf("page %d: the pixel at %d,%d changed by %d of 255", page, x, y, most)
				}
				if most < 12 {
					continue
				}
				switch light := (ar + ag + ab) / 3 >> 8; {
				case light > 250:
					changed["light"]++
				case light < 40:
					changed["dark"]++
				default:
					changed["between"]++
				}
			}
		}
		total := a.Bounds().Dx() * a.Bounds().Dy()
		if changed["light"] < total/200 || page == 2 && (changed["dark"] < total/100 || changed["between"] < total/100) {
			t.Errorf("page %d: too little to see: %v of %d", page, changed, total)
		}
		if sum := changed["light"] + changed["dark"] + changed["between"]; sum > total/4 {
			t.Errorf("page %d: %d of %d pixels are covered", page, sum, total)
		}
	}
}

func difference(a, b uint32) int {
	d := int(a>>8) - int(b>>8)
	return max(d, -d)
}

func TestAFileCanBeMarkedTwice(t *testing.T) {
	t.Parallel()
	once, _, err := shared.Watermark(context.Background(), fixture(t, "invoice.pdf"), "FIRST")
	if err != nil {
		t.Fatal(err)
	}
	path := mustWatermark(t, once, "SECOND (2) \\ é", 2)
	for page := 1; page <= 2; page++ {
		for _, want := range []string{"FIRST", "SECOND (2) \\ é"} {
			if text := pageText(t, path, page); !strings.Contains(text, want) {
				t.Errorf("page %d lacks %q:\n%s", page, want, text)
			}
		}
	}
}

// build writes a PDF of these objects, numbered from 1; the first is the
// catalog.
func build(objects ...string) []byte {
	var b bytes.Buffer
	b.WriteString("%PDF-1.4\n")
	var offsets []int
	for i, o := range objects {
		offsets = append(offsets, b.Len())
		fmt.Fprintf(&b, "%d 0 obj\n%s\nendobj\n", i+1, o)
	}
	start := b.Len()
	fmt.Fprintf(&b, "xref\n0 %d\n0000000000 65535 f \n", len(objects)+1)
	for _, o := range offsets {
		fmt.Fprintf(&b, "%010d 00000 n \n", o)
	}
	fmt.Fprintf(&b, "trailer\n<</Size %d /Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n", len(objects)+1, start)
	return b.Bytes()
}

// explosive writes a PDF whose cross-reference table is a few kilobytes that
// become 256 MB.
func explosive() []byte {
	var packed bytes.Buffer
	z := zlib.NewWriter(&packed)
	z.Write(bytes.Repeat([]byte("\x81\x00"), 2<<20)) // each is a run of 128 zeros
	z.Close()
	file := build(`<</Type /Catalog /Pages 2 0 R>>`, `<</Type /Pages /Count 0 /Kids []>>`)
	file = file[:bytes.Index(file, []byte("xref"))]
	table := stream("/Type /XRef /Size 3 /Root 1 0 R /W [1 2 1] /Filter [/FlateDecode /RunLengthDecode]", packed.String())
	return fmt.Appendf(file, "3 0 obj\n%s\nendobj\nstartxref\n%d\n%%%%EOF\n", table, len(file))
}

func stream(entries, content string) string {
	return fmt.Sprintf("<<%s /Length %d>>\nstream\n%s\nendstream", entries, len(content), content)
}

func TestWhatPagesInheritAndShareIsMarkedAsWell(t *testing.T) {
	t.Parallel()
	file := build(
		`<</Type /Catalog /Pages 2 0 R>>`,
		`<</Type /Pages /Count 4 /Kids [3 0 R 4 0 R] /MediaBox [0 0 300 400] /Resources 7 0 R /Rotate 90>>`,
		`<</Type /Pages /Count 3 /Parent 2 0 R /Kids [5 0 R 6 0 R 8 0 R]>>`,
		`<</Type /Page /Parent 2 0 R>>`, // nothing on it
		`<</Type /Page /Parent 3 0 R /Contents [9 0 R 10 0 R]>>`,
		`<</Type /Page /Parent 3 0 R /Contents 11 0 R /CropBox [100 100 250 300] /Rotate 0>>`,
		`<</Font <</F 13 0 R>>>>`,
		`<</Type /Page /Parent 3 0 R /Contents 12 0 R /Resources <</Font 14 0 R>>>>`,
		stream("", "BT /F 12 Tf 50 200 Td (one"), // goes on in the next stream
		stream("", ") Tj ET"),
		stream("", "BT /F 12 Tf 120 200 Td (two) Tj ET"),
		`[9 0 R 10 0 R]`,
		`<</Type /Font /Subtype /Type1 /BaseFont /Helvetica>>`,
		`<</F 13 0 R>>`,
	)
	path := mustWatermark(t, file, "MARK", 4)
	for page, want := range []string{"one", "two", "one", ""} {
		if text := pageText(t, path, page+1); !strings.Contains(text, want) || strings.Count(text, "MARK") != 1 {
			t.Errorf("page %d: %q", page+1, text)
		}
	}
	sizes := run(t, "pdfinfo", "-f", "1", "-l", "4", path)
	for _, want := range []string{"Page    1 rot:   90", "Page    2 size:  150 x 200 pts", "Page    2 rot:   0", "Page    4 rot:   90"} {
		if !strings.Contains(sizes, want) {
			t.Errorf("no %q in\n%s", want, sizes)
		}
	}
}

func TestFilesThatCannotBeWorkedOnEndInAClearErrorAndTheNextCallWorks(t *testing.T) {
	t.Parallel()
	tool, err := start(Options{Workers: 1, UID: 61234}, 192<<20)
	if err != nil {
		t.Fatal(err)
	}
	defer tool.Close()
	good := fixture(t, "invoice.pdf")
	path := save(t, good)
	encrypt := func(user string, key ...string) []byte {
		out := filepath.Join(t.TempDir(), "encrypted.pdf")
		run(t, "qpdf", append(append([]string{"--allow-weak-crypto", "--encrypt", user, "owner"}, key...), "--", path, out)...)
		file, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		return file
	}
	for name, c := range map[string]struct {
		file  []byte
		kinds string
	}{
		"nothing":               {nil, "DAMAGED"},
		"another format":        {[]byte("<html>hello</html>"), "DAMAGED"},
		"a header alone":        {[]byte("%PDF-1.7\n"), "DAMAGED"},
		"noise":                 {append([]byte("%PDF-1.7\n"), bytes.Repeat([]byte("\x00\xff<<[(obj 1 0 R"), 5000)...), "DAMAGED"},
		"the first half":        {good[:len(good)/2], "DAMAGED"},
		"encrypted, AES":        {encrypt("secret", "256"), "ENCRYPTED"},
		"encrypted, RC4":        {encrypt("secret", "128", "--use-aes=n"), "ENCRYPTED"},
		"protected by owner":    {encrypt("", "256", "--print=none"), "ENCRYPTED"},
		"no pages":              {build(`<</Type /Catalog /Pages 2 0 R>>`, `<</Type /Pages /Count 0 /Kids []>>`), "DAMAGED"},
		"a loop of pages":       {build(`<</Type /Catalog /Pages 2 0 R>>`, `<</Type /Pages /Count 1 /Kids [2 0 R]>>`), "DAMAGED"},
		"no page size":          {build(`<</Type /Catalog /Pages 2 0 R>>`, `<</Type /Pages /Count 1 /Kids [3 0 R]>>`, `<</Type /Page /Parent 2 0 R>>`), "DAMAGED"},
		"deep arrays":           {build(`<</Type /Catalog /Pages 2 0 R /X ` + strings.Repeat("[", 1<<20) + `>>`), "DAMAGED LIMIT"},
		"a table that explodes": {explosive(), "LIMIT"},
		"too large":             {append([]byte("%PDF-1.7\n"), make([]byte, sizeLimit+1<<11)...), "LIMIT"},
	} {
		_, inspected := tool.Inspect(context.Background(), c.file)
		_, _, marked := tool.Watermark(context.Background(), c.file, "TEST")
		_, protected := tool.Protect(context.Background(), c.file, "secret")
		for _, err := range []error{inspected, marked, protected} {
			var e *Error
			if !errors.As(err, &e) || !strings.Contains(c.kinds, string(e.Kind)) || strings.ContainsAny(e.Message, "\n") {
				t.Errorf("%s: got %v, want %s", name, err, c.kinds)
			}
		}
		if info, err := tool.Inspect(context.Background(), good); err != nil || info.Pages != 2 {
			t.Errorf("after %s: %v, %v", name, info, err)
		}
	}
}

func TestTextsThatCannotBeWrittenAreRefused(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "日本", "a\nb", strings.Repeat("x", 61)} {
		if _, _, err := shared.Watermark(context.Background(), fixture(t, "mixed.pdf"), text); err == nil {
			t.Errorf("%q was accepted", text)
		}
	}
}

func TestManyCallersGetTheirOwnFiles(t *testing.T) {
	t.Parallel()
	names := []string{"invoice.pdf", "mixed.pdf"}
	var callers sync.WaitGroup
	for i := range 8 {
		callers.Go(func() {
			file := fixture(t, names[i%2])
			mark := fmt.Sprintf("MARK %d", i)
			for range 10 {
				out, info, err := shared.Watermark(context.Background(), file, mark)
				if err != nil || info.Pages != 2 {
					t.Errorf("%v, %v", info, err)
					return
				}
				if text := pageText(t, save(t, out), 1); !strings.Contains(text, mark) {
					t.Errorf("no %q in %q", mark, text)
				}
			}
		})
	}
	callers.Wait()
}

func BenchmarkWatermark(b *testing.B) {
	file := fixture(b, "invoice.pdf")
	for b.Loop() {
		if _, _, err := shared.Watermark(context.Background(), file, "TEST"); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkPages is of a file as Chromium writes it, and of the same where it has to be read whole.
func BenchmarkPages(b *testing.B) {
	file := fixture(b, "invoice.pdf")
	for name, file := range map[string][]byte{"chromium": file, "whole": append(bytes.Clone(file), "\n%\n"...)} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if pages, err := shared.Pages(context.Background(), file); err != nil || pages != 2 {
					b.Fatal(pages, err)
				}
			}
		})
	}
}
