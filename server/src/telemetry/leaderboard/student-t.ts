/** The standard normal distribution's 97.5th percentile. */
export const z95 = 1.959963984540054;

// Above it the expansion has an error below 1e-9, and the series would be long.
const seriesFreedomMax = 200;
const known: number[] = [];

/**
 * The 97.5th percentile of Student's t: a 95 % interval reaches this many standard errors to either side.
 * @param freedom degrees of freedom, whole, from 1
 */
export function studentT95(freedom: number): number {
  if (freedom > seriesFreedomMax) return expansion(freedom);
  return (known[freedom] ??= bySeries(freedom));
}

function bySeries(freedom: number): number {
  let [low, high] = [0, Math.PI / 2];
  for (let halvings = 0; halvings < 60; halvings++) {
    const middle = (low + high) / 2;
    if (withinAngle(middle, freedom) < 0.95) low = middle;
    else high = middle;
  }
  return Math.sqrt(freedom) * Math.tan(low);
}

/** P(|T| < t) for t = √freedom · tan(angle). Abramowitz and Stegun, 26.7.3 and 26.7.4. */
function withinAngle(angle: number, freedom: number): number {
  const square = Math.cos(angle) ** 2;
  const isOdd = freedom % 2 === 1;
  let term = isOdd ? Math.cos(angle) : 1;
  let sum = 0;
  for (let power = isOdd ? 1 : 0; power <= freedom - 2; power += 2) {
    sum += term;
    term *= (square * (power + 1)) / (power + 2);
  }
  const product = Math.sin(angle) * sum;
  return isOdd ? (2 / Math.PI) * (angle + product) : product;
}

/** Abramowitz and Stegun, 26.7.5. */
function expansion(freedom: number): number {
  const z = z95;
  const terms = [
    z,
    (z ** 3 + z) / 4,
    (5 * z ** 5 + 16 * z ** 3 + 3 * z) / 96,
    (3 * z ** 7 + 19 * z ** 5 + 17 * z ** 3 - 15 * z) / 384,
    (79 * z ** 9 + 776 * z ** 7 + 1482 * z ** 5 - 1920 * z ** 3 - 945 * z) / 92_160,
  ];
  return terms.reduce((sum, term, power) => sum + term / freedom ** power, 0);
}
