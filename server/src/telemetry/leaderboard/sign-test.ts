/**
 * The exact sign test, two-sided: how likely is it that of `better + worse` fair coins so many or more fall on one side?
 * What is equal in both does not count.
 */
export function signTest(better: number, worse: number): number {
  const all = better + worse;
  const fewer = Math.min(better, worse);
  // The largest term of the tail, as its logarithm: a half to the power of some thousands is no number.
  let logarithm = -all * Math.LN2;
  for (let i = 1; i <= fewer; i++) logarithm += Math.log((all - i + 1) / i);
  let [term, sum] = [1, 1];
  for (let i = fewer; i > 0; i--) {
    term *= i / (all - i + 1);
    sum += term;
  }
  return Math.min(1, 2 * Math.exp(logarithm) * sum);
}
