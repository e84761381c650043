package eventsource

import (
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/grafana/sobek"
	"go.k6.io/k6/v2/js/common"
	"go.k6.io/k6/v2/lib/types"
)

// The delay before a reconnect until the server says `retry:`; browsers have two to three seconds.
const defaultRetry = 3 * time.Second

// The longest delay, whatever the server or the script says: far beyond it a time.Duration would begin anew.
const longestRetry = 24 * time.Hour

// What k6 gives an HTTP request.
const defaultTimeout = 60 * time.Second

const defaultEventBytesMax = 16 << 20

// options are the second argument of `new EventSource`; README.md describes each.
type options struct {
	headers        http.Header
	reconnect      bool
	retry, timeout time.Duration
	lastEventID    string
	count          bool
	lag            string
	sequence       string
	channel        string
	until          string
	untilTimes     int64
	transport      string
	bytesPerSecond int64
	receiveBuffer  int
	maxEventBytes  int
	resume         *EventSource
	tags           sobek.Value
}

// badOption names an argument that means nothing.
type badOption struct{ name, value, want string }

func (e *badOption) Error() string {
	return fmt.Sprintf("EventSource: %s is %q, expected %s", e.name, e.value, e.want)
}

func parseURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return nil, &badOption{"url", text, "an absolute http or https URL"}
	}
	u.Fragment = ""
	return u, nil
}

// parseOptions reads the object; an unknown key is an error, since a misspelt one would quietly measure something else.
func parseOptions(rt *sobek.Runtime, given sobek.Value) (options, error) {
	o := options{
		headers: http.Header{}, reconnect: true, retry: defaultRetry, timeout: defaultTimeout,
		lag: "id", untilTimes: 1, transport: "auto", maxEventBytes: defaultEventBytesMax,
	}
	if common.IsNullish(given) {
		return o, nil
	}
	object := given.ToObject(rt)
	for _, key := range object.Keys() {
		value := object.Get(key)
		if common.IsNullish(value) {
			continue
		}
		if err := o.set(rt, key, value); err != nil {
			return o, err
		}
	}
	return o, nil
}

func (o *options) set(rt *sobek.Runtime, key string, value sobek.Value) (err error) {
	var n int64
	switch key {
	case "headers":
		headers := value.ToObject(rt)
		for _, name := range headers.Keys() {
			o.headers.Set(name, headers.Get(name).String())
		}
	case "tags":
		o.tags = value
	case "reconnect":
		o.reconnect = value.ToBoolean()
	case "retry":
		o.retry, err = duration(key, value)
	case "timeout":
		o.timeout, err = duration(key, value)
	case "lastEventId":
		o.lastEventID = value.String()
	case "count":
		o.count = value.ToBoolean()
	case "lag":
		o.lag = value.String()
	case "sequence":
		o.sequence = value.String()
	case "channel":
		o.channel = value.String()
	case "until":
		o.until = value.String()
	case "untilTimes":
		o.untilTimes, err = number(key, value, 1)
	case "transport":
		o.transport = value.String()
		if o.transport != "auto" && o.transport != "k6" && o.transport != "bare" {
			err = &badOption{key, o.transport, `"auto", "k6" or "bare"`}
		}
	case "bytesPerSecond":
		o.bytesPerSecond, err = number(key, value, 1)
	case "receiveBuffer":
		n, err = number(key, value, 1)
		o.receiveBuffer = int(n)
	case "maxEventBytes":
		n, err = number(key, value, 1)
		o.maxEventBytes = int(n)
	case "resume":
		resume, ok := value.Export().(*EventSource)
		if !ok {
			return &badOption{key, value.String(), "an EventSource"}
		}
		o.resume = resume
	case "withCredentials": // k6's cookies are always sent
	default:
		err = &badOption{"option", key, "one that the README names"}
	}
	return err
}

// duration reads milliseconds, or text such as "3s", as k6 does.
func duration(key string, value sobek.Value) (time.Duration, error) {
	d, err := types.GetDurationValue(value.Export())
	// A number of milliseconds that is too large for a time.Duration comes out as any other one.
	tooLarge := value.ToFloat() > float64(longestRetry.Milliseconds())
	if err != nil || d < 0 || d > longestRetry || tooLarge {
		return 0, &badOption{key, value.String(), "milliseconds or a duration up to 24h"}
	}
	return d, nil
}

func number(key string, value sobek.Value, least int64) (int64, error) {
	n := value.ToInteger()
	if n < least {
		return 0, &badOption{key, value.String(), fmt.Sprintf("a number from %d", least)}
	}
	return n, nil
}
