// Package logs hands the records of slog to loggers of other kinds.
package logs

import (
	"context"
	"fmt"
	"log/slog"
)

// A Sink takes a record.
type Sink func(level slog.Level, message string, fields map[string]any)

// Handler is a slog.Handler that hands records to a Sink. Make it with New.
type Handler struct {
	to    func() Sink
	attrs []slog.Attr
	group string
}

var _ slog.Handler = Handler{}

// New makes a Handler that asks for the Sink each time; nil takes nothing.
func New(to func() Sink) Handler { return Handler{to: to} }

// Enabled implements slog.Handler.
func (h Handler) Enabled(context.Context, slog.Level) bool { return h.to() != nil }

// Handle implements slog.Handler.
func (h Handler) Handle(_ context.Context, r slog.Record) error {
	sink := h.to()
	if sink == nil {
		return nil
	}
	fields := make(map[string]any, r.NumAttrs()+len(h.attrs))
	for _, a := range h.attrs {
		fields[a.Key] = fmt.Sprint(a.Value.Any())
	}
	r.Attrs(func(a slog.Attr) bool {
		fields[h.group+a.Key] = fmt.Sprint(a.Value.Any())
		return true
	})
	sink(r.Level, r.Message, fields)
	return nil
}

// WithAttrs implements slog.Handler.
func (h Handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	all := make([]slog.Attr, 0, len(h.attrs)+len(attrs))
	all = append(all, h.attrs...)
	for _, a := range attrs {
		all = append(all, slog.Attr{Key: h.group + a.Key, Value: a.Value})
	}
	return Handler{h.to, all, h.group}
}

// WithGroup implements slog.Handler.
func (h Handler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	return Handler{h.to, h.attrs, h.group + name + "."}
}
