package platen

import (
	"fmt"
	"math"
	"strings"
)

// OutputKind is what a submission becomes.
type OutputKind string

// The output kinds.
const (
	OutputPDF  OutputKind = "PDF"
	OutputPNG  OutputKind = "PNG"
	OutputJPEG OutputKind = "JPEG"
	OutputWebP OutputKind = "WEBP"
)

// Extension is what the names of such files end with, without the dot.
func (k OutputKind) Extension() string { return strings.ToLower(string(k)) }

// ContentType is the media type of such files (https://www.iana.org/assignments/media-types).
func (k OutputKind) ContentType() string {
	if k == OutputPDF {
		return "application/pdf"
	}
	return "image/" + k.Extension()
}

// Screenshot says how a page becomes an image. Of the page settings, media,
// noJavaScript, waitFor and timeout apply to images as well.
type Screenshot struct {
	// Width and Height are those of the window, in CSS pixels.
	Width  int `json:"width"`
	Height int `json:"height"`
	// DeviceScaleFactor is how many pixels of the image a CSS pixel is, each way.
	DeviceScaleFactor float64 `json:"deviceScaleFactor"`
	// FullPage makes the image as high as the whole page, but no lower than the window.
	// It is as wide as the window either way.
	FullPage bool `json:"fullPage"`
	// Quality is 1 to 100, of JPEG and WebP; 0: the browser's default.
	Quality int `json:"quality,omitempty"`
	// OmitBackground leaves out the page's white, of PNG and WebP.
	OmitBackground bool `json:"omitBackground,omitempty"`
}

// DefaultScreenshot is an image of a window of 1280 by 800, as high as the page.
func DefaultScreenshot() Screenshot {
	return Screenshot{Width: 1280, Height: 800, DeviceScaleFactor: 1, FullPage: true}
}

// Limits of an image.
const (
	MaxWindow      = 4096     // of a screenshot's window, each way, in CSS pixels
	MaxScaleFactor = 4        // device pixels for a CSS pixel
	MaxImageSide   = 16_383   // pixels, each way: the most that WebP has (RFC 9649, section 2.5)
	MaxImagePixels = 64 << 20 // of an image in all; at four bytes each, and some copies of it
)

// CheckImageSize says what is wrong with the size of an image, in pixels.
func CheckImageSize(width, height int) error {
	if width < 1 || height < 1 { // Chromium never answers when asked for such
		return fmt.Errorf("the image would be %d by %d pixels, which is nothing", width, height)
	}
	if width > MaxImageSide || height > MaxImageSide || width*height > MaxImagePixels {
		return fmt.Errorf("the image would be %d by %d pixels, and has at most %d each way and %d in all", width, height, MaxImageSide, MaxImagePixels)
	}
	return nil
}

// Pixels are the width and height of the image of so many CSS pixels, in pixels.
func (s Screenshot) Pixels(width, height int) (int, int) {
	return int(math.Round(float64(width) * s.DeviceScaleFactor)), int(math.Round(float64(height) * s.DeviceScaleFactor))
}

// Validate says what is wrong with the options for an image of a kind.
func (s Screenshot) Validate(kind OutputKind) Errors {
	var errs Errors
	for _, side := range []struct {
		name string
		n    int
	}{{"width", s.Width}, {"height", s.Height}} {
		if side.n < 1 || side.n > MaxWindow {
			errs.Add(CodeInvalid, fmt.Sprintf("The window's %s is 1 to %d pixels.", side.name, MaxWindow), side.name)
		}
	}
	// Written so that NaN is refused as well.
	if !(s.DeviceScaleFactor >= 0.1 && s.DeviceScaleFactor <= MaxScaleFactor) {
		errs.Add(CodeInvalid, fmt.Sprintf("deviceScaleFactor is 0.1 to %d.", MaxScaleFactor), "deviceScaleFactor")
	}
	if len(errs) == 0 {
		if err := CheckImageSize(s.Pixels(s.Width, s.Height)); err != nil {
			errs.Add(CodeInvalid, "The window does not go with this deviceScaleFactor: "+err.Error()+".", "deviceScaleFactor")
		}
	}
	switch {
	case s.Quality == 0:
	case s.Quality < 1 || s.Quality > 100:
		errs.Add(CodeInvalid, "The quality is 1 to 100.", "quality")
	case kind == OutputPNG:
		errs.Add(CodeInvalid, "A PNG has no quality: it loses nothing. Leave quality out, or ask for JPEG or WEBP.", "quality")
	}
	if s.OmitBackground && kind == OutputJPEG {
		errs.Add(CodeInvalid, "A JPEG cannot be transparent: leave omitBackground out, or ask for PNG or WEBP.", "omitBackground")
	}
	return errs
}
