package pdf

import (
	"bytes"
	"testing"
)

func TestThePagesOfAFileOfChromiumsAreCountedWithoutReadingItWhole(t *testing.T) {
	t.Parallel()
	invoice := fixture(t, "invoice.pdf")
	if pages, known := count(invoice); pages != 2 || !known {
		t.Errorf("%d pages, known %v", pages, known)
	}
	// What is written by others is none of it, and neither is what stands in a stream.
	for name, file := range map[string][]byte{
		"pdfcpu's":     mustMerge(t, 4, Part{File: invoice}, Part{File: invoice}),
		"nothing":      nil,
		"no PDF":       []byte("GIF89a"),
		"another root": bytes.Replace(invoice, []byte("/Type /Catalog"), []byte("/Type /Catalox"), 1),
		"no pages":     bytes.Replace(invoice, []byte("/Type /Pages\n/Count 2"), []byte("/Type /Pages\n/Count 0"), 1),
	} {
		if pages, known := count(file); known {
			t.Errorf("%s has %d pages", name, pages)
		}
	}
	// Whatever is broken in it, it is not known or what the file says.
	for at := range len(invoice) - 1 { // the last is the end of a line
		if pages, known := count(invoice[:at]); known {
			t.Fatalf("%d pages in the first %d bytes", pages, at)
		}
	}
	for at := len(invoice) - 5000; at < len(invoice); at++ {
		broken := bytes.Clone(invoice)
		broken[at] ^= 0x11
		if pages, known := count(broken); known && pages != 2 {
			t.Fatalf("%d pages with another byte at %d", pages, at)
		}
	}
}
