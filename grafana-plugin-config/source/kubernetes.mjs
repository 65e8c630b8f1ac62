export function manifests() {
  return {};
}
