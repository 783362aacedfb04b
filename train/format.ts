/**
 * Numbers for people: bytes, rates, shares and times in a few characters.
 *
 * @module
 */

/** `58.2 MB`: powers of ten, as disks and data sheets count. */
export function showBytes(bytes: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  while (bytes >= 999.5 && unit < units.length - 1) {
    bytes /= 1000;
    unit++;
  }
  return `${unit === 0 ? bytes : bytes.toPrecision(3)} ${units[unit]}`;
}

/** `41 200`: three digits matter, thousands apart. */
export function showRate(perSecond: number): string {
  if (!Number.isFinite(perSecond)) return "-";
  const rounded = Number(perSecond.toPrecision(3));
  return rounded < 100 ? String(rounded) : Math.round(rounded).toString().replace(
    /\B(?=(\d{3})+$)/g,
    " ",
  );
}

/** `97.63 %`. */
export function showShare(share: number): string {
  return Number.isFinite(share) ? `${(share * 100).toFixed(2)} %` : "-";
}

/** `0.0812`: four digits that matter. */
export function showLoss(loss: number): string {
  if (!Number.isFinite(loss)) return String(loss);
  const [low, high] = [1e-3, 1e4];
  return loss !== 0 && (Math.abs(loss) < low || Math.abs(loss) >= high)
    ? loss.toExponential(2)
    : Number(loss.toPrecision(4)).toString();
}

/** `7.2 s`, `2 min 05 s`, `1 h 12 min`. */
export function showSeconds(seconds: number): string {
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds), minutes = Math.floor(whole / 60);
  const two = (n: number) => String(n).padStart(2, "0");
  if (minutes < 60) return `${minutes} min ${two(whole % 60)} s`;
  return `${Math.floor(minutes / 60)} h ${two(minutes % 60)} min`;
}
