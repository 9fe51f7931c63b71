/*
 * measure: runs in the page and tells how it looks: too wide, scrolled sideways, cut, too pale. Contrast is that of WCAG 2
 * (https://www.w3.org/TR/WCAG21/#dfn-contrast-ratio): 4.5 for text, 3 for large text and for what pictures are made
 * of. It is sent as text: nothing outside the function is there.
 */
export function measure() {
    const rgb = (text) => text.match(/[\d.]+/g).map(Number);
    const luminance = (color) => {
        const [r, g, b] = rgb(color).slice(0, 3).map((value) => value / 255)
            .map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const contrast = (a, b) => {
        const [more, less] = [luminance(a), luminance(b)].sort((x, y) => y - x);
        return (more + 0.05) / (less + 0.05);
    };
    const background = (element) => {
        for (let at = element; at; at = at.parentElement) {
            const color = getComputedStyle(at).backgroundColor;
            if ((rgb(color)[3] ?? 1) === 1)
                return color;
        }
        return 'rgb(255, 255, 255)';
    };
    const pale = new Set();
    const look = (element, color, least) => {
        const ratio = contrast(color, background(element));
        if (ratio < least)
            pale.add(`${element.tagName}.${element.className} ${color}: ${ratio.toFixed(2)}`);
    };
    let texts = 0;
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const element = walker.currentNode.parentElement;
        if (walker.currentNode.data.trim() === '' || element.getClientRects().length === 0)
            continue;
        const style = getComputedStyle(element);
        const size = parseFloat(style.fontSize);
        texts += 1;
        look(element, style.color, size >= 24 || (size >= 18.66 && style.fontWeight >= 700) ? 3 : 4.5);
    }
    const bars = [...document.querySelectorAll('rect')];
    bars.forEach((bar) => look(bar.parentElement, getComputedStyle(bar).fill, 3));
    return {
        texts,
        bars: bars.length,
        dark: luminance(getComputedStyle(document.body).backgroundColor) < 0.2,
        width: document.scrollingElement.scrollWidth,
        scrolled: [...document.querySelectorAll('.scroll')].filter((one) => one.scrollWidth > one.clientWidth)
            .map((one) => `${one.parentElement.querySelector('h2').textContent}: ${one.scrollWidth} of ${one.clientWidth}`),
        cut: [...document.querySelectorAll('.mark')].filter((one) => one.scrollWidth > one.clientWidth)
            .map((one) => one.textContent),
        pale: [...pale],
    };
}
