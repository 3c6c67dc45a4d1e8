package migrations

// For the tests, which look at single steps.
var (
	UpTo    = up
	Scripts = scripts
)
