package platen

// MaxSources is how many sources one combined submission has.
const MaxSources = 1000

// CombinedSubmission is one PDF that is merged from several, in order (R4.1).
type CombinedSubmission struct {
	Document
	// Sources are what it is merged from. They are kept apart from the record and nil in
	// events and lists.
	Sources []*CombinedSource `json:"-"`
	// Waiting is how many of the documents among its sources are still PENDING.
	Waiting int `json:"-"`
}

// Extension is what the name of the file ends with, without the dot.
func (*CombinedSubmission) Extension() string { return OutputPDF.Extension() }

// PathKind is PathCombinedSubmission.
func (*CombinedSubmission) PathKind() PathKind { return PathCombinedSubmission }

// CombinedSource is one part of a combined submission. Exactly one of DocumentID, UploadID and
// URL is set.
type CombinedSource struct {
	// DocumentID is a submission or a combined submission; of a template, the submission
	// that was made for this part.
	DocumentID string
	// TemplateVersionID is the version that DocumentID was made of for this part; "" if
	// the caller named the document.
	TemplateVersionID string
	UploadID          string
	URL               string // without its query, which may hold a signature
	Address           []byte // the whole URL, encrypted; nil once it has been fetched
}
