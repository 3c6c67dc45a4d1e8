package pdf

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// Whatever comes in as a PDF is taken, with its pages counted, or refused with a reason; the
// next is read.
func FuzzWhatComesInAsAPDFIsTakenOrRefused(f *testing.F) {
	files, err := filepath.Glob("testdata/*.pdf")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range files {
		file, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		if len(file) < 20<<10 {
			f.Add(file)
			f.Add(file[:len(file)/2])
		}
	}
	f.Add([]byte("%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj 2 0 obj<</Type/Pages/Kids[2 0 R]/Count 1000000000>>endobj trailer<</Root 1 0 R>>"))
	f.Add([]byte("%PDF-1.7\n"))
	f.Fuzz(func(t *testing.T, file []byte) {
		info, err := shared.CheckPart(t.Context(), file)
		var mistake *Error
		if err != nil && !errors.As(err, &mistake) || err == nil && info.Pages < 1 {
			t.Errorf("%d pages, %v", info.Pages, err)
		}
	})
}
