package platen

// PageOverride changes some of a page's settings; what is nil stays.
type PageOverride struct {
	Format                                           *PaperFormat
	Width, Height                                    *string
	Orientation                                      *Orientation
	MarginTop, MarginRight, MarginBottom, MarginLeft *string
	Scale                                            *float64
	PrintBackground                                  *bool
	Media                                            *Media
	Timeout                                          *int
}

// Over returns the settings with the override's own over them. A size given in one
// way replaces a size given in the other; width and height win over a format.
func (o PageOverride) Over(base PageSettings) PageSettings {
	if o.Format != nil {
		base.Format, base.Width, base.Height = *o.Format, "", ""
	}
	if o.Width != nil || o.Height != nil {
		base.Format = ""
	}
	override(&base.Width, o.Width)
	override(&base.Height, o.Height)
	override(&base.Orientation, o.Orientation)
	override(&base.MarginTop, o.MarginTop)
	override(&base.MarginRight, o.MarginRight)
	override(&base.MarginBottom, o.MarginBottom)
	override(&base.MarginLeft, o.MarginLeft)
	override(&base.Scale, o.Scale)
	override(&base.PrintBackground, o.PrintBackground)
	override(&base.Media, o.Media)
	override(&base.Timeout, o.Timeout)
	return base
}

func override[T any](setting *T, with *T) {
	if with != nil {
		*setting = *with
	}
}
