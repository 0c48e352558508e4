// Package term shows a drill on a terminal, or as plain lines where there is none.
package term

import (
	"fmt"
	"io"
	"strings"

	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/record"
)

// logEach is how many seconds pass between two lines of figures in a plain log.
const logEach = 2

// promiseWidth is how wide the column of promises is at least.
const promiseWidth = 12

// Options say how to show a drill.
type Options struct {
	// Live redraws a block of lines in place, for terminals. Otherwise lines are only appended.
	Live bool
	// Color allows colours.
	Color bool
	// Width returns how many characters a line has room for now. 0, or no function: as many as
	// there are.
	Width func() int
}

// width returns the room of a line; 0: no end.
func (s *Screen) width() int {
	if s.options.Width == nil {
		return 0
	}
	return s.options.Width()
}

// Screen shows one drill. It has no useful zero value; New makes one. It is not safe for concurrent
// use.
type Screen struct {
	out     io.Writer
	options Options
	record  record.Record
	drawn   int     // lines of the block on the terminal
	logged  float64 // when figures were last logged
}

// New returns a screen that writes to out.
func New(out io.Writer, o Options) *Screen { return &Screen{out: out, options: o} }

// Backlog is how many updates the channel given to Show should hold: more than a busy terminal can
// fall behind.
const Backlog = 1 << 14

// Show shows the record and the updates of a journal's Follow, until they end.
func (s *Screen) Show(now record.Record, updates <-chan record.Update) {
	s.record = now
	if s.options.Live {
		s.print("\x1b[?7l\x1b[?25l") // long lines are cut instead of wrapped; no cursor
		defer s.print("\x1b[?7h\x1b[?25h")
	}
	for u := range updates {
		s.update(u)
	}
	s.erase()
}

func (s *Screen) update(u record.Update) {
	switch data := u.Data.(type) {
	case record.PhaseUpdate:
		begins := data.Phase.Begun && !s.record.Phases[data.Index].Begun
		s.record.Phases[data.Index] = data.Phase
		if begins {
			s.line(data.Phase.Start, "── "+data.Phase.Title+" ──", s.bold)
		}
	case record.Event:
		s.line(data.T, data.Text, func(text string) string { return text })
	case record.Sample:
		s.record.Samples = append(s.record.Samples[:0], data)
		s.record.Elapsed = data.T
		s.figures(data)
	}
}

// line appends a text above the block.
func (s *Screen) line(t float64, text string, style func(string) string) {
	s.erase()
	at := clock(t) + "  "
	s.print(at + style(strings.TrimPrefix(fold(at+text, s.width(), len(at)), at)) + "\n")
	s.draw()
}

func (s *Screen) figures(now record.Sample) {
	if s.options.Live {
		s.erase()
		s.draw()
		return
	}
	if now.T-s.logged >= logEach {
		s.logged = now.T
		s.print(fmt.Sprintf("%s  plain %s | holdfast %s\n", clock(now.T), s.brief(now.Plain), s.brief(now.Holdfast)))
	}
}

// brief returns the figures that a log has room for.
func (s *Screen) brief(m record.Moment) string {
	var parts []string
	for _, c := range s.columns() {
		if c.Brief != "" {
			parts = append(parts, fmt.Sprintf(c.Brief, c.Of(m)))
		}
	}
	return strings.Join(parts, " ")
}

// erase removes the block.
func (s *Screen) erase() {
	if s.drawn > 0 {
		s.print(fmt.Sprintf("\x1b[%dA\r\x1b[J", s.drawn))
		s.drawn = 0
	}
}

// draw writes the block below everything else.
func (s *Screen) draw() {
	if !s.options.Live || len(s.record.Samples) == 0 {
		return
	}
	text := s.block()
	s.drawn = strings.Count(text, "\n")
	s.print(text)
}

func (s *Screen) print(text string) { _, _ = io.WriteString(s.out, text) }

func clock(seconds float64) string {
	return fmt.Sprintf("%d:%02d", int(seconds)/60, int(seconds)%60)
}

// Verdict writes what users noticed, the table of all phases and the promises.
func (s *Screen) Verdict(r record.Record) {
	width := s.width()
	s.print("\n")
	if r.Story != nil {
		for i, sentence := range r.Story.Sentences {
			style := s.bold
			if i > 0 {
				style = func(text string) string { return text }
			}
			s.print(style(fold(sentence, width, 2)) + "\n")
		}
		s.print("\n")
	}
	heads := r.Columns()
	for i := range heads {
		heads[i] = strings.ToUpper(heads[i])
	}
	s.print(tables(heads, r.Rows(), 2, width))
	s.promises(r)
}

// Summary writes of several drills how each ended and what users noticed most, and whether some
// have not begun.
func (s *Screen) Summary(drills []record.Record) {
	if len(drills) > 1 {
		s.print("\n")
		for _, r := range drills {
			text := r.Scenario + ": " + r.Ending() + "."
			if r.Story != nil {
				text += " " + r.Story.Headline
			}
			s.print(fold(text, s.width(), 2) + "\n")
		}
	}
	if len(drills) > 0 && drills[len(drills)-1].Cut {
		s.print(fold("The scenarios after "+drills[len(drills)-1].Scenario+" were not drilled.", s.width(), 0) + "\n")
	}
}

func (s *Screen) promises(r record.Record) {
	width := promiseWidth
	for _, p := range r.Promises {
		width = max(width, len(p.Text))
	}
	for _, p := range r.Promises {
		mark, color := "kept  ", green
		switch {
		case p.Open:
			mark, color = "open  ", dim
		case !p.Kept:
			mark, color = "BROKEN", red
		}
		where := ""
		if p.Phase != "" {
			where = " in phase “" + p.Phase + "”"
		}
		line := fold(fmt.Sprintf("%s  %-*s  worst: %s%s", mark, width, p.Text, p.Shown, where), s.width(), len(mark)+gap)
		s.print(s.colored(color, mark) + strings.TrimPrefix(line, mark) + "\n")
		if p.About != "" {
			s.print(s.colored(dim, strings.Repeat(" ", len(mark)+gap)+fold(p.About, max(s.width()-len(mark)-gap, 0), len(mark)+gap)) + "\n")
		}
	}
	if r.Verdict == record.Interrupted {
		s.print(fold("The drill was interrupted; the promises are judged on what was measured.", s.width(), 0) + "\n")
	}
}
