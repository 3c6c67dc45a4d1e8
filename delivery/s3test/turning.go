package s3test

import (
	"bytes"
	"io"
)

// Turning is a document until it was read to its end once, as Platen does with some before it sends them, and
// Into, which has the same length, from then on.
type Turning struct {
	*bytes.Reader
	Into []byte
}

// Read implements io.Reader.
func (d *Turning) Read(p []byte) (int, error) {
	n, err := d.Reader.Read(p)
	if err == io.EOF {
		d.Reader = bytes.NewReader(d.Into)
	}
	return n, err
}

// WriteTo would go round Read.
func (d *Turning) WriteTo(w io.Writer) (int64, error) {
	return io.Copy(w, struct{ io.Reader }{d})
}
