package groupcache

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"

	"github.com/sirupsen/logrus"
)

// Logger is the original's interface to loggers, for SetLoggerFromLogger. Each method but Printf
// returns a Logger for the rest of the sentence. New code sets Options.Logger.
type Logger interface {
	Error() Logger
	Warn() Logger
	Info() Logger
	Debug() Logger
	ErrorField(label string, err error) Logger
	StringField(label, val string) Logger
	WithFields(fields map[string]interface{}) Logger
	Printf(format string, args ...interface{})
}

// defaultLog is where the default instance writes; SetLogger changes it.
var defaultLog switchable //nolint:gochecknoglobals // belongs to the one default Instance

// defaultLogger writes there.
func defaultLogger() *slog.Logger { return slog.New(logHandler{to: &defaultLog}) }

// SetLogger sends what the default instance has to say to a logrus logger; nil silences it. It may
// be called at any time.
func SetLogger(log *logrus.Entry) {
	if log == nil {
		SetLoggerFromLogger(nil)
		return
	}
	SetLoggerFromLogger(logrusLogger{entry: log, level: logrus.InfoLevel})
}

// SetLoggerFromLogger sends what the default instance has to say to any logger; nil silences it. It
// may be called at any time.
func SetLoggerFromLogger(log Logger) { defaultLog.target.Store(&log) }

// logrusLogger is a Logger over logrus.
type logrusLogger struct {
	entry *logrus.Entry
	level logrus.Level
}

func (l logrusLogger) at(level logrus.Level) Logger { return logrusLogger{l.entry, level} }

func (l logrusLogger) Error() Logger { return l.at(logrus.ErrorLevel) }
func (l logrusLogger) Warn() Logger  { return l.at(logrus.WarnLevel) }
func (l logrusLogger) Info() Logger  { return l.at(logrus.InfoLevel) }
func (l logrusLogger) Debug() Logger { return l.at(logrus.DebugLevel) }

func (l logrusLogger) ErrorField(label string, err error) Logger {
	return logrusLogger{l.entry.WithField(label, err), l.level}
}

func (l logrusLogger) StringField(label, val string) Logger {
	return logrusLogger{l.entry.WithField(label, val), l.level}
}

func (l logrusLogger) WithFields(fields map[string]interface{}) Logger {
	return logrusLogger{l.entry.WithFields(fields), l.level}
}

func (l logrusLogger) Printf(format string, args ...interface{}) {
	l.entry.Logf(l.level, format, args...)
}

// switchable is a Logger that can be exchanged while it is in use.
type switchable struct{ target atomic.Pointer[Logger] }

func (s *switchable) current() Logger {
	if p := s.target.Load(); p != nil {
		return *p
	}
	return nil
}

// logHandler hands the records of slog to a Logger.
type logHandler struct {
	to    *switchable
	attrs []slog.Attr
	group string
}

var _ slog.Handler = logHandler{}

// Enabled implements slog.Handler.
func (h logHandler) Enabled(context.Context, slog.Level) bool { return h.to.current() != nil }

// Handle implements slog.Handler.
func (h logHandler) Handle(_ context.Context, r slog.Record) error {
	l := h.to.current()
	if l == nil {
		return nil
	}
	switch {
	case r.Level >= slog.LevelError:
		l = l.Error()
	case r.Level >= slog.LevelWarn:
		l = l.Warn()
	case r.Level >= slog.LevelInfo:
		l = l.Info()
	default:
		l = l.Debug()
	}
	fields := make(map[string]interface{}, r.NumAttrs()+len(h.attrs))
	for _, a := range h.attrs {
		fields[a.Key] = fmt.Sprint(a.Value.Any())
	}
	r.Attrs(func(a slog.Attr) bool {
		fields[h.group+a.Key] = fmt.Sprint(a.Value.Any())
		return true
	})
	l.WithFields(fields).Printf("%s", r.Message)
	return nil
}

// WithAttrs implements slog.Handler.
func (h logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	all := make([]slog.Attr, 0, len(h.attrs)+len(attrs))
	all = append(all, h.attrs...)
	for _, a := range attrs {
		all = append(all, slog.Attr{Key: h.group + a.Key, Value: a.Value})
	}
	return logHandler{h.to, all, h.group}
}

// WithGroup implements slog.Handler.
func (h logHandler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	return logHandler{h.to, h.attrs, h.group + name + "."}
}
