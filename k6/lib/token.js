// Tokens as Fantail takes them with `--auth jwt`: HS256, a secret that the node has in a file.
import crypto from 'k6/crypto';
import encoding from 'k6/encoding';

const encode = (value) => encoding.b64encode(JSON.stringify(value), 'rawurl');

/** A token that may subscribe and publish as the patterns say, and ends in so many seconds. */
export function token(secret, life, { subscribe = [], publish = [], sub = 'k6' } = {}) {
  const claims = {
    sub, exp: Math.floor(Date.now() / 1000 + life), 'fantail.subscribe': subscribe, 'fantail.publish': publish,
  };
  const signed = `${encode({ alg: 'HS256', typ: 'JWT' })}.${encode(claims)}`;
  return `${signed}.${crypto.hmac('sha256', secret, signed, 'base64rawurl')}`;
}

/** A token that says of itself that it needs no signature; whoever takes it has no lock on the door. */
export const unsigned = (claims) => `${encode({ alg: 'none', typ: 'JWT' })}.${encode(claims)}.`;
