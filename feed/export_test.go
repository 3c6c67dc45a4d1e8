package feed

// Decode reads a cursor as clients cannot.
var Decode = decode
