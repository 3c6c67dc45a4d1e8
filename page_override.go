package platen

// PageOverride changes some of a page's settings; what is nil stays.
type PageOverride struct {
	Format                                           *PaperFormat
	Width, Height                                    *string
	Orientation                                      *Orientation
	MarginTop, MarginRight, MarginBottom, MarginLeft *string
	Scale                                            *float64
	PrintBackground                                  *bool
	PreferCSSPageSize                                *bool
	PageRanges                                       *string // "": all pages again
	Outline, Tagged                                  *bool
	Media                                            *Media
	NoJavaScript, NoNetwork                          *bool
	// WaitFor replaces what was waited for as a whole. One without conditions takes it away.
	WaitFor *WaitFor
	Timeout *int
}

// Over returns the settings with the override's own over them. A size given in one
// way replaces a size given in the other; width and height win over a format. Where
// neither is left, because width and height were taken away, the paper is that of
// DefaultPageSettings again.
func (o PageOverride) Over(base PageSettings) PageSettings {
	if o.Format != nil {
		base.Format, base.Width, base.Height = *o.Format, "", ""
	}
	override(&base.Width, o.Width)
	override(&base.Height, o.Height)
	if base.Width != "" || base.Height != "" {
		base.Format = ""
	} else if base.Format == "" {
		base.Format = DefaultPageSettings().Format
	}
	override(&base.Orientation, o.Orientation)
	override(&base.MarginTop, o.MarginTop)
	override(&base.MarginRight, o.MarginRight)
	override(&base.MarginBottom, o.MarginBottom)
	override(&base.MarginLeft, o.MarginLeft)
	override(&base.Scale, o.Scale)
	override(&base.PrintBackground, o.PrintBackground)
	override(&base.PreferCSSPageSize, o.PreferCSSPageSize)
	override(&base.PageRanges, o.PageRanges)
	override(&base.Outline, o.Outline)
	override(&base.Tagged, o.Tagged)
	override(&base.Media, o.Media)
	override(&base.NoJavaScript, o.NoJavaScript)
	override(&base.NoNetwork, o.NoNetwork)
	if o.WaitFor != nil {
		base.WaitFor = o.WaitFor
		if base.Waits() == (WaitFor{}) {
			base.WaitFor = nil
		}
	}
	override(&base.Timeout, o.Timeout)
	return base
}

func override[T any](setting *T, with *T) {
	if with != nil {
		*setting = *with
	}
}
