package renderer

import (
	"math"

	"platen"

	"github.com/go-rod/rod/lib/proto"
)

// window is what a tab shows of a page that becomes an image; the zero value is
// the browser's own.
type window struct {
	width, height int // CSS pixels
	scale         float64
	transparent   bool
}

// emulate sets the tab to the window.
func (w window) emulate(tab session) error {
	var background proto.EmulationSetDefaultBackgroundColorOverride // none
	if w.transparent {
		nothing := 0.0
		background.Color = &proto.DOMRGBA{A: &nothing}
	}
	if err := background.Call(tab); err != nil {
		return err
	}
	if w == (window{}) {
		return proto.EmulationClearDeviceMetricsOverride{}.Call(tab)
	}
	return proto.EmulationSetDeviceMetricsOverride{Width: w.width, Height: w.height, DeviceScaleFactor: w.scale}.Call(tab)
}

// screenshot says how a page becomes an image.
type screenshot struct {
	window
	kind     platen.OutputKind
	fullPage bool
	quality  int // 0: the browser's
}

func newScreenshot(s platen.Screenshot, kind platen.OutputKind) *screenshot {
	return &screenshot{
		window: window{width: s.Width, height: s.Height, scale: s.DeviceScaleFactor, transparent: s.OmitBackground},
		kind:   kind, fullPage: s.FullPage, quality: s.Quality,
	}
}

// captureFormats are the names that Page.captureScreenshot has for the kinds.
var captureFormats = map[platen.OutputKind]string{platen.OutputPNG: "png", platen.OutputJPEG: "jpeg", platen.OutputWebP: "webp"}

// capture makes the image of the page as it stands.
func (p *page) capture(tab session, how *screenshot) ([]byte, error) {
	parameters := map[string]any{"format": captureFormats[how.kind]}
	if how.quality > 0 {
		parameters["quality"] = how.quality
	}
	if how.fullPage {
		metrics, err := proto.PageGetLayoutMetrics{}.Call(tab)
		if err != nil {
			return nil, err
		}
		height := int(math.Ceil(metrics.CSSContentSize.Height))
		if err := platen.CheckImageSize(platen.Screenshot{DeviceScaleFactor: how.scale}.Pixels(how.width, height)); err != nil {
			return nil, renderFailure(platen.FailureDocumentLimit, false, "The page is too high for one image: "+err.Error()+
				". Shorten the page, make deviceScaleFactor smaller, or leave fullPage out.", nil)
		}
		parameters["captureBeyondViewport"] = true
		parameters["clip"] = map[string]any{"x": 0, "y": 0, "width": how.width, "height": height, "scale": 1}
	}
	answer, err := tab.call(tab.ctx, p.session, "Page.captureScreenshot", parameters)
	if err != nil {
		return nil, err
	}
	return decodeFile(answer)
}
