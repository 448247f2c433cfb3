// Handlers of fields and forms, given what was used rather than an event.

/** @param {(field: HTMLInputElement) => void} does @returns {(event: Event) => void} */
export const by = (does) => (event) => does(/** @type {HTMLInputElement} */ (event.target));

/** For a form's submission; nothing leaves the page. @param {(form: HTMLFormElement) => void} does @returns {(event: Event) => void} */
export const filled = (does) => (event) => {
  event.preventDefault();
  does(/** @type {HTMLFormElement} */ (event.target));
};

/** A form's field. @param {HTMLFormElement} form @param {string} name */
export const field = (form, name) => /** @type {HTMLInputElement} */ (form.elements.namedItem(name));
