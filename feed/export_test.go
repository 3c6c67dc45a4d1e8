package feed

// Encode and Decode make and read cursors, as clients cannot.
var (
	Encode = encode
	Decode = decode
)
