// To the other theme.
import { chooseTheme, useTheme } from "../theme";
import { Button } from "./Button";
import { Icon } from "./Icon";

export function ThemeButton() {
  const other = useTheme() === "dark" ? "light" : "dark";
  return (
    <Button kind="quiet" icon aria-label={`Use the ${other} theme`} title={`Use the ${other} theme`} onClick={() => chooseTheme(other)}>
      <Icon name={other === "light" ? "sun" : "moon"} />
    </Button>
  );
}
