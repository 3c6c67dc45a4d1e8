package pdf

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func mustProtect(t *testing.T, file []byte, password string) string {
	t.Helper()
	out, err := shared.Protect(context.Background(), file, password)
	if err != nil {
		t.Fatal(err)
	}
	return save(t, out)
}

func TestR3_1AProtectedFileHasAES256OfPDF20AndAllowsAllToWhoOpensIt(t *testing.T) {
	t.Parallel()
	path := mustProtect(t, fixture(t, "invoice.pdf"), "secret")
	run(t, "qpdf", "--check", "--password=secret", path)
	about := run(t, "qpdf", "--show-encryption", "--password=secret", path)
	for _, want := range []string{"R = 6", "P = -4", "Supplied password is user password", "stream encryption method: AESv3",
		"string encryption method: AESv3", "file encryption method: AESv3", "modify anything: allowed", "extract for any purpose: allowed"} {
		if !strings.Contains(about, want) {
			t.Errorf("no %q in\n%s", want, about)
		}
	}
	if strings.Contains(about, "not allowed") {
		t.Errorf("something is not allowed:\n%s", about)
	}
}

func TestR3_1OnlyThePasswordOpensAProtectedFile(t *testing.T) {
	t.Parallel()
	for _, password := range []string{
		"x", "pässwörd 日本", `-"'\$()<>`, "password of more than thirty-two bytes", "סיסמה", strings.Repeat("日", 42) + "x", strings.Repeat("x", 127),
	} {
		path := mustProtect(t, fixture(t, "invoice.pdf"), password)
		run(t, "qpdf", "--check", "--password="+password, path)
		if len(password) <= 32 { // pdftotext takes no more from its command line
			if text := run(t, "pdftotext", "-upw", password, path, "-"); !strings.Contains(text, "Invoice R-77") {
				t.Errorf("%q does not open the file:\n%s", password, text)
			}
		}
		for _, other := range []string{"", "y" + password, password[1:]} {
			// Without a password, both try the empty one, as user and as owner.
			if out, err := exec.Command("pdftotext", "-upw", other, "-opw", other, path, "-").CombinedOutput(); err == nil || bytes.Contains(out, []byte("R-77")) {
				t.Errorf("%q opens what %q protects", other, password)
			}
			if exec.Command("qpdf", "--check", "--password="+other, path).Run() == nil {
				t.Errorf("%q opens what %q protects", other, password)
			}
		}
		file, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, clear := range []string{"R-77", "\xfe\xff\x00I\x00n\x00v", "Chromium", "example"} {
			if bytes.Contains(file, []byte(clear)) {
				t.Errorf("%q can be read without a password", clear)
			}
		}
	}
}

func TestR3_1AProtectedFileKeepsTheRest(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"invoice.pdf", "mixed.pdf"} {
		file := fixture(t, name)
		before, after := save(t, file), mustProtect(t, file, "secret")
		for _, option := range []string{"-box", "-url", "-dests", "-struct-text"} {
			want := changes.ReplaceAllString(run(t, "pdfinfo", "-f", "1", "-l", "2", option, before), "")
			got := changes.ReplaceAllString(run(t, "pdfinfo", "-f", "1", "-l", "2", "-upw", "secret", option, after), "")
			if got = encrypted.ReplaceAllString(got, "Encrypted:       no"); got != want {
				t.Errorf("%s: pdfinfo %s was\n%s\nand is\n%s", name, option, want, got)
			}
		}
		clear := filepath.Join(t.TempDir(), "clear.pdf")
		run(t, "qpdf", "--decrypt", "--password=secret", after, clear)
		for page := 1; page <= 2; page++ {
			if want, got := pageText(t, before, page), pageText(t, clear, page); got != want {
				t.Errorf("%s, page %d: text was\n%s\nand is\n%s", name, page, want, got)
			}
			if !reflect.DeepEqual(picture(t, clear, page), picture(t, before, page)) {
				t.Errorf("%s, page %d looks different", name, page)
			}
		}
	}
}

var encrypted = regexp.MustCompile(`Encrypted: .*`)

func TestR3_1AProtectedFileKeepsItsOutlineAndFormFieldsAndInformation(t *testing.T) {
	t.Parallel()
	file := build(
		`<</Type /Catalog /Pages 2 0 R /Outlines 5 0 R /AcroForm <</Fields [7 0 R] /DA (/Helv 0 Tf 0 g) /DR <</Font <</Helv 8 0 R>>>>>>`+
			` /Names <</EmbeddedFiles <</Names [(note.txt) 10 0 R]>>>> /Metadata 12 0 R>>`,
		`<</Type /Pages /Count 1 /Kids [3 0 R] /MediaBox [0 0 300 400]>>`,
		`<</Type /Page /Parent 2 0 R /Contents 4 0 R /Resources <</Font <</F 8 0 R>>>> /Annots [7 0 R]>>`,
		stream("", "BT /F 12 Tf 50 200 Td (body) Tj ET"),
		`<</Type /Outlines /First 6 0 R /Last 6 0 R /Count 1>>`,
		`<</Title (Chapter one) /Parent 5 0 R /Dest [3 0 R /Fit]>>`,
		`<</Type /Annot /Subtype /Widget /FT /Tx /T (customer) /V (Ada <&>) /Rect [10 10 100 30] /P 3 0 R /F 4 /DA (/Helv 12 Tf 0 g)>>`,
		`<</Type /Font /Subtype /Type1 /BaseFont /Helvetica>>`,
		stream("/Type /EmbeddedFile /Params <</Size 9>>", "in a note"),
		`<</Type /Filespec /F (note.txt) /UF (note.txt) /EF <</F 9 0 R>>>>`,
		`<</Title (A title) /Author (An author)>>`,
		stream("/Type /Metadata /Subtype /XML", `<x:xmpmeta xmlns:x="adobe:ns:meta/"></x:xmpmeta>`),
	)
	file = bytes.Replace(file, []byte("/Root 1 0 R"), []byte("/Root 1 0 R /Info 11 0 R"), 1)
	marked, _, err := shared.Watermark(context.Background(), file, "TEST")
	if err != nil {
		t.Fatal(err)
	}
	for name, file := range map[string][]byte{"as it was": file, "after a watermark": marked} {
		path := mustProtect(t, file, "secret")
		run(t, "qpdf", "--check", "--password=secret", path)
		structure := run(t, "qpdf", "--json", "--json-key=outlines", "--json-key=acroform", "--json-key=attachments", "--password=secret", path)
		for _, want := range []string{`"title": "Chapter one"`, `"fullname": "customer"`, `"value": "u:Ada <&>"`, `"note.txt"`} {
			// versions of qpdf differ in the mark of a text
			if !strings.Contains(structure, want) && !strings.Contains(structure, strings.Replace(want, "u:", "", 1)) {
				t.Errorf("%s: no %q in\n%s", name, want, structure)
			}
		}
		if note := run(t, "qpdf", "--show-attachment=note.txt", "--password=secret", path); note != "in a note" {
			t.Errorf("%s: the attachment is %q", name, note)
		}
		info := run(t, "pdfinfo", "-upw", "secret", path)
		for _, want := range []string{"A title", "An author", "AcroForm", "Metadata Stream: yes"} {
			if !strings.Contains(info, want) {
				t.Errorf("%s: no %q in\n%s", name, want, info)
			}
		}
		if text := run(t, "pdftotext", "-upw", "secret", path, "-"); !strings.Contains(text, "body") || strings.Contains(text, "TEST") != (name == "after a watermark") {
			t.Errorf("%s: text is %q", name, text)
		}
	}
}

func TestPasswordsThatNotEveryReaderTakesAreRefused(t *testing.T) {
	t.Parallel()
	for password, allowed := range map[string]bool{
		"":                                false,
		"secret \xff":                     false,
		strings.Repeat("x", 128):          false,
		strings.Repeat("日", 43):           false, // 129 bytes
		"secret\n":                        false,
		"secret\x00":                      false,
		"se\u00adcret":                    false, // soft hyphen
		"se\u200dcret":                    false, // zero width joiner
		"se\u00a0cret":                    false, // no-break space
		"se\ufe0fcret":                    false, // variation selector
		"se\u1806cret":                    false,
		"se\ufffdcret":                    false,
		"se\ue000cret":                    false, // private use
		"se\ufdd0cret":                    false, // no character
		"pa\u0308ssword":                  false, // a and its dots apart
		"o\ufb03ce":                       false, // ligature
		"ｆｕｌｌ":                            false,
		"2\u2075":                         false,
		"סיסמהx":                          false,
		"סיסמה1":                          false,
		"1סיסמה":                          false,
		"ס1ה":                             true,
		"كلمة السر":                       true,
		"pässwörd 日本 ñ ß € \U0001f512":    true,
		` !"#$%&'()*+,-./:;<=>?@[\]^_{}~`: true,
	} {
		err := CheckPassword(password)
		if (err == nil) != allowed {
			t.Errorf("%q: %v", password, err)
		}
		if err != nil && len(password) > 3 && strings.Contains(err.Error(), password) {
			t.Errorf("the error tells the password: %v", err)
		}
		if _, protected := shared.Protect(context.Background(), fixture(t, "mixed.pdf"), password); (protected == nil) != allowed {
			t.Errorf("%q: %v", password, protected)
		}
	}
}

func TestAPasswordIsNotInLogsErrorsOrWhatTheMachineShowsOfWorkers(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	tool, err := start(Options{Workers: 1, UID: 61234, Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))}, 192<<20)
	if err != nil {
		t.Fatal(err)
	}
	const secret = "hunter2-correct-horse"
	for _, file := range [][]byte{
		fixture(t, "invoice.pdf"), nil, []byte("%PDF-1.7\n" + secret), explosive(), make([]byte, sizeLimit+1<<11),
		build(`<</Type /Catalog /Pages 2 0 R>>`, `<</Type /Pages /Count 1 /Kids [2 0 R]>>`),
		build(`<</Type /Catalog /Pages 2 0 R /X ` + strings.Repeat("[", 1<<20) + `>>`),
	} {
		_, err := tool.Protect(context.Background(), file, secret)
		if err != nil && strings.Contains(err.Error(), secret) {
			t.Errorf("the error tells the password: %v", err)
		}
		// The workers of this machine, ours among them.
		shown, _ := exec.Command("sh", "-c", "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ").Output()
		if !bytes.Contains(shown, []byte("platen-sandbox-worker")) {
			t.Error("the workers are not seen")
		}
		if bytes.Contains(shown, []byte(secret)) {
			t.Error("the machine shows the password")
		}
	}
	if err := tool.Close(); err != nil { // nothing writes to the log any more
		t.Fatal(err)
	}
	if strings.Contains(log.String(), secret) {
		t.Errorf("the log holds the password:\n%s", log.String())
	}
}

func TestAProtectedFileIsEncryptedForTheOtherMethods(t *testing.T) {
	t.Parallel()
	protected, err := shared.Protect(context.Background(), fixture(t, "invoice.pdf"), "secret")
	if err != nil {
		t.Fatal(err)
	}
	_, inspected := shared.Inspect(context.Background(), protected)
	_, _, marked := shared.Watermark(context.Background(), protected, "TEST")
	_, again := shared.Protect(context.Background(), protected, "secret")
	for i, err := range []error{inspected, marked, again} {
		var e *Error
		if !errors.As(err, &e) || e.Kind != Encrypted {
			t.Errorf("%d: %v", i, err)
		}
	}
}

// A page of 24 MB of noise, which nothing can make smaller.
func TestALargeFileIsProtectedWithinTheMemoryOfAWorker(t *testing.T) {
	t.Parallel()
	tool, err := start(Options{Workers: 1, UID: 61234}, 384<<20)
	if err != nil {
		t.Fatal(err)
	}
	defer tool.Close()
	noise := make([]byte, 24<<20)
	for i, state := 0, uint32(1); i < len(noise); i++ {
		state = state*1664525 + 1013904223
		noise[i] = byte(state >> 24)
	}
	file := build(
		`<</Type /Catalog /Pages 2 0 R>>`,
		`<</Type /Pages /Count 1 /Kids [3 0 R] /MediaBox [0 0 300 400]>>`,
		`<</Type /Page /Parent 2 0 R /Resources <</XObject <</I 4 0 R>>>>>>`,
		stream("/Type /XObject /Subtype /Image /Width 8192 /Height 3072 /BitsPerComponent 8 /ColorSpace /DeviceGray", string(noise)),
	)
	original := slices.Clone(file)
	protected, err := tool.Protect(context.Background(), file, "secret")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(file, original) {
		t.Error("the file that was given has changed")
	}
	out := filepath.Join(t.TempDir(), "clear.pdf")
	run(t, "qpdf", "--decrypt", "--compress-streams=n", "--password=secret", save(t, protected), out)
	clear, err := os.ReadFile(out)
	if err != nil || !bytes.Contains(clear, noise) {
		t.Errorf("the noise is not what it was: %v", err)
	}
}

func BenchmarkProtect(b *testing.B) {
	file := fixture(b, "invoice.pdf")
	for b.Loop() {
		if _, err := shared.Protect(context.Background(), file, "secret"); err != nil {
			b.Fatal(err)
		}
	}
}
