// Package redis is the k6 module k6/x/redis, as far as this suite needs it: a client that sends any command.
//
// grafana/xk6-redis has no version for k6 2 that can be had from the module proxy. Scripts that use its Client with
// sendCommand run on either.
package redis

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/grafana/sobek"
	goredis "github.com/redis/go-redis/v9"
	"go.k6.io/k6/v2/js/common"
	"go.k6.io/k6/v2/js/modules"
	"go.k6.io/k6/v2/js/promises"
)

var errOutside = errors.New("redis: sendCommand works while a VU runs, not in the init context")

// RootModule is shared by all VUs.
type RootModule struct{}

// New makes the module; k6 calls it once per process.
func New() *RootModule { return &RootModule{} }

type instance struct {
	vu      modules.VU
	exports modules.Exports
}

// NewModuleInstance implements modules.Module.
func (*RootModule) NewModuleInstance(vu modules.VU) modules.Instance {
	in := &instance{vu: vu}
	// Once: k6 asks for the exports at each use of the import.
	in.exports = modules.Exports{Named: map[string]any{"Client": in.client}}
	return in
}

// Exports implements modules.Instance.
func (in *instance) Exports() modules.Exports { return in.exports }

// Client speaks to one Redis. It connects at its first command, and each VU has its own connections.
type Client struct {
	vu      modules.VU
	options *goredis.Options
	redis   *goredis.Client
}

// client is `new Client(url)`.
func (in *instance) client(call sobek.ConstructorCall) *sobek.Object {
	rt := in.vu.Runtime()
	options, err := goredis.ParseURL(call.Argument(0).String())
	if err != nil {
		// The URL may have a password in it.
		common.Throw(rt, errors.New("redis: not a URL such as redis://127.0.0.1:6379/0"))
	}
	// A command that failed may have been carried out: the script decides whether to send it again.
	options.MaxRetries = -1
	return rt.ToValue(&Client{vu: in.vu, options: options}).(*sobek.Object)
}

// SendCommand sends a command and promises its reply. Arguments are strings, numbers or booleans.
func (c *Client) SendCommand(command string, arguments ...any) *sobek.Promise {
	promise, resolve, reject := promises.New(c.vu)
	if err := c.connect(); err != nil {
		reject(err)
		return promise
	}
	all := make([]any, 0, 1+len(arguments))
	all = append(all, command)
	for _, argument := range arguments {
		switch argument.(type) {
		case string, int64, float64, bool:
			all = append(all, argument)
		default:
			reject(fmt.Errorf("redis: an argument of %s is no string, number or boolean: %T", command, argument))
			return promise
		}
	}
	ctx := c.vu.Context()
	go func() {
		reply, err := c.redis.Do(ctx, all...).Result()
		switch {
		case errors.Is(err, goredis.Nil):
			resolve(nil)
		case err != nil:
			reject(err)
		default:
			resolve(reply)
		}
	}()
	return promise
}

// connect makes the client at the first command, with the dialer of k6: its limits and its counts hold here, too.
func (c *Client) connect() error {
	if c.redis != nil {
		return nil
	}
	state := c.vu.State()
	if state == nil {
		return errOutside
	}
	if c.options.TLSConfig == nil {
		c.options.Dialer = func(ctx context.Context, network, address string) (net.Conn, error) {
			return state.Dialer.DialContext(ctx, network, address)
		}
	}
	c.redis = goredis.NewClient(c.options)
	return nil
}
