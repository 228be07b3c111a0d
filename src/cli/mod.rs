mod args; mod values;
