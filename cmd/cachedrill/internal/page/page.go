// Package page shows a record in a browser: live, by server-sent events, and as a self-contained
// report.
package page

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/record"
)

//go:embed assets/index.html
var document string //nolint:gochecknoglobals // go:embed needs a variable; never written.

//go:embed assets/style.css
var style string //nolint:gochecknoglobals // as above.

//go:embed assets/charts.js
var charts string //nolint:gochecknoglobals // as above.

//go:embed assets/page.js
var script string //nolint:gochecknoglobals // as above.

// Report writes the page of complete records, one for each drill of a run. It needs nothing but
// itself.
func Report(w io.Writer, drills []record.Record) error { return write(w, drills) }

// write fills the document in; without drills it makes the live page.
func write(w io.Writer, drills []record.Record) error {
	data, err := json.Marshal(drills) // which escapes what could end a script element
	if err != nil {
		return fmt.Errorf("page: %w", err)
	}
	layouts, err := json.Marshal(record.Layouts())
	if err != nil {
		return fmt.Errorf("page: %w", err)
	}
	_, err = strings.NewReplacer(
		"{{style}}", style, "{{script}}", charts+script, "{{drills}}", string(data), "{{layouts}}", string(layouts),
	).WriteString(w, document)
	return err
}
