// Runs before the first paint, so that a chosen theme never flashes. theme.js does the rest.
try {
  const theme = JSON.parse(localStorage.getItem("idiolect.theme"));
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch {
  // storage is off: the system's preference stays
}
