package groupcache

import (
	"log/slog"
	"sync/atomic"

	"github.com/sirupsen/logrus"

	"github.com/holdfast-go/holdfast/groupcache/internal/logs"
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
func defaultLogger() *slog.Logger { return slog.New(logs.New(defaultLog.sink)) }

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

// sink is what the Logger of now takes records by, nil if there is none.
func (s *switchable) sink() logs.Sink {
	p := s.target.Load()
	if p == nil || *p == nil {
		return nil
	}
	return func(level slog.Level, message string, fields map[string]any) {
		l := *p
		switch {
		case level >= slog.LevelError:
			l = l.Error()
		case level >= slog.LevelWarn:
			l = l.Warn()
		case level >= slog.LevelInfo:
			l = l.Info()
		default:
			l = l.Debug()
		}
		l.WithFields(fields).Printf("%s", message)
	}
}
