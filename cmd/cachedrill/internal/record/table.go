package record

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
)

// Columns are the headings of Rows.
func (r *Record) Columns() []string {
	heads := []string{"phase", "client"}
	for _, c := range LayoutOf(r.Scenario).Columns {
		heads = append(heads, c.Name)
	}
	return heads
}

// Rows returns two rows for each phase that has begun, plain and holdfast.
func (r *Record) Rows() [][]string {
	columns := LayoutOf(r.Scenario).Columns
	var rows [][]string
	for i := range r.Phases {
		p := &r.Phases[i]
		if !p.Begun {
			continue
		}
		rows = append(rows,
			append([]string{p.Title, "plain"}, cells(columns, &p.Plain)...),
			append([]string{"", "holdfast"}, cells(columns, &p.Holdfast)...))
	}
	return rows
}

func cells(columns []Column, s *Summary) (row []string) {
	for _, c := range columns {
		row = append(row, c.Of(s))
	}
	return row
}

// Of returns the figure of a Summary or a Moment in words, "–" if it has none.
func (c Column) Of(from any) string {
	v, ok := Value(from, c.Field)
	if !ok {
		return "–"
	}
	return c.Unit.Format(v)
}

// Value returns the number that the JSON form of a Summary or a Moment has under a name; false if
// it has none.
func Value(from any, field string) (v float64, ok bool) {
	return value(reflect.Indirect(reflect.ValueOf(from)), field)
}

func value(from reflect.Value, field string) (v float64, ok bool) {
	if from.Kind() != reflect.Struct { // a nil pointer
		return 0, false
	}
	for i := range from.NumField() {
		f, part := from.Type().Field(i), reflect.Indirect(from.Field(i))
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous:
			if v, ok := value(part, field); ok {
				return v, true
			}
		case name != field:
		case part.CanInt():
			return float64(part.Int()), true
		case part.CanFloat():
			return part.Float(), true
		}
	}
	return 0, false
}

// Unit says how a figure is written.
type Unit string

// The units.
const (
	Milliseconds Unit = "ms"
	PerSecond    Unit = "/s"
	Count        Unit = "count"
	Share        Unit = "ratio" // of 0 to 1, written as a percentage
	PercentUnit  Unit = "%"     // of something that should be zero
	Factor       Unit = "x"
)

// Format writes a figure.
func (u Unit) Format(v float64) string {
	switch u {
	case Milliseconds:
		return Latency(v)
	case PerSecond:
		return fmt.Sprintf("%.0f", v)
	case Share:
		return Ratio(v)
	case PercentUnit:
		return Percent(v)
	case Factor:
		return fmt.Sprintf("%.2fx", v)
	default:
		return strconv.Itoa(int(v))
	}
}

// Latency returns milliseconds in at most six characters, such as 0.41ms, 12ms or 1.02s.
func Latency(ms float64) string {
	switch {
	case ms >= 1000:
		return fmt.Sprintf("%.2fs", ms/1000)
	case ms >= 10:
		return fmt.Sprintf("%.0fms", ms)
	case ms >= 1:
		return fmt.Sprintf("%.1fms", ms)
	default:
		return fmt.Sprintf("%.2fms", ms)
	}
}

// Ratio returns a share of 0 to 1 as a percentage.
func Ratio(share float64) string { return fmt.Sprintf("%.1f%%", 100*share) }

// Percent returns a percentage of something that should be zero.
func Percent(p float64) string {
	if p == 0 {
		return "0"
	}
	return fmt.Sprintf("%.2f%%", p)
}

// Note says whether and by whom server i is used, as far as the sample tells; else "".
func (s *Sample) Note(i int, server Server) string {
	if i < len(s.Holdfast.Breakers) {
		return "breaker " + s.Holdfast.Breakers[i]
	}
	m := map[string]*WriteMoment{"plain": s.Plain.WriteMoment, "holdfast": s.Holdfast.WriteMoment}[server.Side]
	if m != nil && m.Primary == server.Addr {
		return "in use"
	}
	return ""
}
